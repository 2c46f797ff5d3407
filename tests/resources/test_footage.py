"""Where a partition's footage is, and that it is still what was registered."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from resources.artifacts import ArtifactStore
from resources.footage import FootageStore, describe_file
from sentinel_assets.vision.errors import FootageDamaged, FootageMissing


@pytest.fixture
def store(tmp_path: Path) -> FootageStore:
    return FootageStore(ArtifactStore(str(tmp_path / "artifacts")))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "가게 #1.mp4"
    path.write_bytes(b"frames")
    return path


def test_a_file_is_known_by_its_content(clip: Path) -> None:
    """The etag is the sha256 of the bytes, so a copy has the same and a change another."""
    record = describe_file(clip)
    assert record.etag == f"sha256:{hashlib.sha256(b'frames').hexdigest()}"
    assert (record.size_bytes, record.name) == (6, "가게 #1.mp4")


def test_a_registered_file_is_read_in_place(store: FootageStore, clip: Path) -> None:
    """A local video is not copied."""
    store.register("7", describe_file(clip))
    with store.local_copy("7") as path:
        assert path == clip.resolve()


@pytest.mark.parametrize("path", ["absent.mp4", "."])
def test_what_is_no_file_is_refused(tmp_path: Path, path: str) -> None:
    """A missing file, a folder."""
    with pytest.raises(FootageMissing):
        describe_file(tmp_path / path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("loop.mp4", "loop"),  # a link to itself: an error of pathlib's own
        ("x" * 300 + ".mp4", "too long"),  # the file system takes 255 bytes
        ("~nobody-of-that-name/x.mp4", "no such file"),  # a folder that begins with ~ is a folder
        ("bad\udcff.mp4", "not text in UTF-8"),  # a byte that is no UTF-8, as Python hands it over
    ],
    ids=["link to itself", "too long", "tilde", "not UTF-8"],
)
def test_what_no_path_can_be_is_refused_in_one_printable_line(tmp_path: Path, name: str, words: str) -> None:
    """Each comes out of the operating system or of pathlib in another way."""
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    with pytest.raises(FootageMissing, match=words) as caught:
        describe_file(tmp_path / name)
    assert str(caught.value).isprintable()


def test_an_unregistered_partition_says_how_to_register_it(store: FootageStore) -> None:
    """A partition that somebody added by hand in the UI."""
    with pytest.raises(FootageMissing, match="sentinel analyze"), store.local_copy("99"):
        pass


def test_a_file_that_went_away_is_said(store: FootageStore, clip: Path) -> None:
    """Registered yesterday, deleted since."""
    store.register("7", describe_file(clip))
    clip.unlink()
    with pytest.raises(FootageMissing, match="the file is gone"), store.local_copy("7"):
        pass


def test_a_file_that_grew_is_not_taken_for_the_old_one(store: FootageStore, clip: Path) -> None:
    """A recorder that still writes: rows would belong to content that nobody registered."""
    store.register("7", describe_file(clip))
    clip.write_bytes(b"more frames")
    with pytest.raises(FootageDamaged, match="11 bytes now, 6 when it was registered"), store.local_copy("7"):
        pass
