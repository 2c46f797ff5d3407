"""Tables between assets: checked before they are written, whole when they are read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pandas as pd
import pytest

from resources.artifacts import ArtifactStore, content_digest, table_name
from sentinel_assets.vision.errors import ArtifactMissing, StoreRejected, StoreUnavailable, TableError
from sentinel_assets.vision.tables import DESCRIPTIONS, EMBEDDINGS, EVENTS
from tests.builders.events import event_rows


def _descriptions(text: str = "A person stands.") -> pd.DataFrame:
    row = {
        "event_key": "standing-1-0",
        "track": 1,
        "behavior": "standing",
        "start_s": 0.0,
        "peak_s": 1.0,
        "end_s": 2.0,
        "description": text,
        "language": "en",
        "describer": "template",
        "grounded": True,
    }
    return DESCRIPTIONS.frame([row])


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


@pytest.mark.parametrize("partition", ["17", "videos/2026/가게 1.mp4", "../../etc/passwd", "a%2Fb"])
def test_a_table_comes_back_as_it_went(store: ArtifactStore, partition: str) -> None:
    """Whatever the partition's key: it is escaped, and stays within its folder."""
    frame = _descriptions("서 있는 사람")
    frame.attrs["note"] = "kept"
    store.write_table(DESCRIPTIONS, partition, frame)
    back = store.read_table(DESCRIPTIONS, partition)
    assert back.attrs == {"note": "kept"}
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    assert Path(store.uri(table_name(DESCRIPTIONS, partition))).parent == Path(store.base) / "descriptions"


def test_an_empty_table_keeps_its_columns(store: ArtifactStore) -> None:
    """A video without events has a table of events."""
    store.write_table(EMBEDDINGS, "1", EMBEDDINGS.frame([]))
    assert list(store.read_table(EMBEDDINGS, "1").columns) == ["event_key", "vector"]


def test_equal_content_has_an_equal_digest() -> None:
    """The data version of an output that came out the same stays, so what follows is not made again."""
    one, same, other = (content_digest(DESCRIPTIONS.conform(_descriptions(t))) for t in ("a", "a", "b"))
    assert one == same != other


@pytest.mark.parametrize("other_track", [[None, None], [None, 2], [1, 2]])
def test_a_table_that_was_read_back_has_the_digest_of_the_one_that_was_written(
    store: ArtifactStore, other_track: list[int | None]
) -> None:
    """What stands in the memory of a null differs between the two, and is no content."""
    frame = event_rows(2, other_track=pd.Series(other_track, dtype=object))
    written = store.write_table(EVENTS, "1", frame)
    assert content_digest(EVENTS.conform(store.read_table(EVENTS, "1"))) == written


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.drop(columns="track"), "missing ['track']"),  # a column forgotten
        (lambda f: f.assign(extra=1), "not declared ['extra']"),  # a column nobody declared
        (lambda f: f.assign(track="one"), "track is not int32"),  # another type
        (lambda f: f.assign(track=None), "track has 1 nulls"),  # null where none may be
    ],
)
def test_rows_that_break_the_schema_are_not_written(store: ArtifactStore, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    """The message names the table and the column; what stood there stays."""
    store.write_table(DESCRIPTIONS, "1", _descriptions("before"))
    with pytest.raises(TableError, match="descriptions") as caught:
        store.write_table(DESCRIPTIONS, "1", damage(_descriptions()))
    assert message in str(caught.value)
    assert store.read_table(DESCRIPTIONS, "1")["description"].tolist() == ["before"]


def test_what_is_not_there_is_said_with_its_place(store: ArtifactStore) -> None:
    """An upstream output that was never made."""
    with pytest.raises(ArtifactMissing, match=r"artifacts/descriptions/1\.parquet"):
        store.read_table(DESCRIPTIONS, "1")


def test_a_damaged_object_is_refused(store: ArtifactStore) -> None:
    """Bytes that are no Parquet are an error with a remedy, not a traceback of Arrow."""
    store.write_bytes(table_name(DESCRIPTIONS, "1"), b"not parquet")
    with pytest.raises(StoreRejected, match="Materialize descriptions of partition 1 again"):
        store.read_table(DESCRIPTIONS, "1")


def test_a_full_disk_leaves_the_old_object_and_no_scrap(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write fails before the rename, so that a reader never sees half a table."""
    store.write_table(DESCRIPTIONS, "1", _descriptions("before"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="disk is full") as caught:
        store.write_table(DESCRIPTIONS, "1", _descriptions("after"))
    assert caught.value.is_retryable
    assert store.read_table(DESCRIPTIONS, "1")["description"].tolist() == ["before"]
    assert [p.name for p in (Path(store.base) / "descriptions").iterdir()] == ["1.parquet"]
