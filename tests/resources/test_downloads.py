"""A video of S3 comes down once for the steps that read it, and no copy outlives its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from resources import downloads
from resources.downloads import Downloads
from resources.s3 import s3_client
from sentinel_assets.vision.errors import FootageDamaged, FootageMissing, StoreUnavailable

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

BUCKET = "footage"
ONE, OTHER = (f"s3://{BUCKET}/videos/{number}/a.mp4" for number in (1, 2))
_CHECKOUT = Path(__file__).resolve().parents[2]


class Counting:
    """S3, and how often an object came down."""

    def __init__(self) -> None:
        self.gets = 0

    def __getattr__(self, name: str) -> Any:
        self.gets += name == "get_object"
        return getattr(s3_client(), name)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "tmp"


@pytest.fixture
def s3(aws: LocalAws, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Counting:
    boto3.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.settings.region}
    )
    put(ONE, b"one")
    put(OTHER, b"other")
    counting = Counting()
    monkeypatch.setattr(downloads, "s3_client", lambda: counting)
    return counting


def put(uri: str, content: bytes) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"), Body=content)


def whatever(etag: str, size_bytes: int) -> None:
    """Any content is wanted."""


def of_size(wanted: int) -> Callable[[str, int], None]:
    def require(_: str, size_bytes: int) -> None:
        if size_bytes != wanted:
            raise FootageDamaged(f"{size_bytes} bytes, expected {wanted}", where=ONE)

    return require


def read(of: Downloads, uri: str, require: Callable[[str, int], None] = whatever) -> bytes:
    with of.copy_of(uri, require) as path:
        return path.read_bytes()


def test_the_steps_of_a_run_share_one_copy(s3: Counting, temporary: Path) -> None:
    of = Downloads()
    assert [read(of, ONE) for _ in range(4)] == [b"one"] * 4
    assert s3.gets == 1
    assert read(of, OTHER) == b"other"
    assert len(list(temporary.iterdir())) == 1, "of one video at a time"
    of.drop()
    assert not list(temporary.iterdir())


def test_a_copy_in_use_is_nobody_elses(s3: Counting, temporary: Path) -> None:
    of = Downloads()
    with of.copy_of(ONE, whatever) as first, of.copy_of(ONE, whatever) as second, of.copy_of(OTHER, whatever) as third:
        assert [path.read_bytes() for path in (first, second, third)] == [b"one", b"one", b"other"]
        assert first != second
    assert first.exists(), "the last to be put back"
    assert len(list(temporary.iterdir())) == 1
    of.drop()


def test_what_was_overwritten_comes_down_again(s3: Counting) -> None:
    of = Downloads()
    assert read(of, ONE) == b"one"
    put(ONE, b"two")
    assert read(of, ONE) == b"two"
    assert s3.gets == 2
    of.drop()


def test_what_is_not_wanted_any_more_is_refused_and_dropped(s3: Counting, temporary: Path) -> None:
    of = Downloads()
    assert read(of, ONE, of_size(3)) == b"one"
    put(ONE, b"longer")
    with pytest.raises(FootageDamaged, match="6 bytes, expected 3"):
        read(of, ONE, of_size(3))
    boto3.client("s3").delete_object(Bucket=BUCKET, Key="videos/1/a.mp4")
    with pytest.raises(FootageMissing, match="no such object"):
        read(of, ONE)
    assert not list(temporary.iterdir())


def test_a_copy_that_somebody_removed_comes_down_again(s3: Counting) -> None:
    of = Downloads()
    with of.copy_of(ONE, whatever) as path:
        pass
    path.unlink()
    assert read(of, ONE) == b"one"
    of.drop()


def full(*_: object, **__: object) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("of", "what"),
    [(Path, "open"), (tempfile, "mkdtemp"), (tempfile, "gettempdir")],
    ids=["file", "folder", "no place"],
)
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    s3: Counting, temporary: Path, monkeypatch: pytest.MonkeyPatch, of: Any, what: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(of, what, full)
        with pytest.raises(StoreUnavailable, match=r"kept here: No space left on device.*Free some space"):
            read(Downloads(), ONE)
    assert not list(temporary.iterdir())


_READER = """
import sys, time
from resources.downloads import DOWNLOADS
with DOWNLOADS.copy_of(sys.argv[1], lambda *_: None) as path:
    print(path, flush=True)
    sys.stdin.read()
"""


def reader() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", _READER, ONE], cwd=_CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_no_copy_outlives_its_process(s3: Counting, temporary: Path) -> None:
    """One that ends takes its copy along; one that was killed leaves it to whoever is next, who leaves the living's."""
    (ends, first), (killed, second), (lives, third) = reader(), reader(), reader()
    ends.communicate()
    assert not first.exists()
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert second.exists()
    of = Downloads()
    assert read(of, OTHER) == b"other"
    assert not second.parent.exists()
    assert third.read_bytes() == b"one"
    lives.communicate()
    of.drop()
    assert not list(temporary.iterdir())


_FORKING = """
import os, sys
from resources.downloads import DOWNLOADS
with DOWNLOADS.copy_of(sys.argv[1], lambda *_: None) as path:
    pass
if (child := os.fork()) == 0:
    DOWNLOADS.drop()
    os._exit(0)
os.waitpid(child, 0)
print(path.exists())
"""


def test_a_fork_leaves_its_parents_copy_alone(s3: Counting, temporary: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", _FORKING, ONE]
    done = subprocess.run(command, cwd=_CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert not list(temporary.iterdir())
