"""Both stores keep the one promise that all else rests on: an object is created once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from batch_step.channel import Channel, FolderChannel, S3Channel, get_json, open_channel, path_part, put_json
from batch_step.errors import ChannelUnavailable

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


@pytest.fixture(params=["folder", "s3"])
def channel(request: pytest.FixtureRequest, tmp_path: Path) -> Channel:
    if request.param == "folder":
        return open_channel(str(tmp_path / "channel"))
    request.getfixturevalue("batch")
    return open_channel("s3://steps/some/prefix")


def test_an_object_comes_back_whole(channel: Channel) -> None:
    assert channel.get("a/b.json") is None
    channel.put("a/b.json", b"one")
    channel.put("a/b.json", b"two")
    assert channel.get("a/b.json") == b"two"
    put_json(channel, "c.json", {"x": 1})
    assert get_json(channel, "c.json") == {"x": 1}


def test_of_callers_that_race_one_creates_the_object(channel: Channel) -> None:
    won: list[int] = []
    barrier = threading.Barrier(8)

    def race(number: int) -> None:
        barrier.wait()
        if channel.put_if_absent("claim", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert channel.get("claim") == str(won[0]).encode()


def test_a_write_whose_answer_was_lost_counts_as_ours(batch: LocalAws) -> None:
    """boto repeats the call, and S3 then says that the object is there: it is our own."""
    real = boto3.client("s3")

    class Echo:
        def put_object(self, **parameters: Any) -> Any:
            real.put_object(**parameters)
            return real.put_object(**parameters)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    channel = S3Channel("s3://steps/x", Echo())
    assert channel.put_if_absent("claim", b"mine")
    assert not channel.put_if_absent("claim", b"another")


def test_a_store_that_does_not_answer_is_told_from_a_missing_object(batch: LocalAws, tmp_path: Path) -> None:
    with pytest.raises(ChannelUnavailable):
        open_channel("s3://no-such-bucket/x").get("a")
    with pytest.raises(ChannelUnavailable):
        open_channel("s3://no-such-bucket/x").put("a", b"")
    (tmp_path / "file").touch()
    with pytest.raises(ChannelUnavailable):
        FolderChannel(str(tmp_path / "file")).put("a", b"")


@pytest.mark.parametrize("uri", ["gs://bucket/x", "relative/folder", ""])
def test_only_s3_and_absolute_folders_are_channels(uri: str) -> None:
    with pytest.raises(ValueError, match="give s3://bucket/prefix"):
        open_channel(uri)


def test_step_keys_become_parts_of_paths_and_stay_apart() -> None:
    """Dynamic steps are called `op[a]`; two keys never share a folder."""
    assert path_part("detections") == "detections"
    parts = {path_part(key) for key in ("op[a]", "op(a)", "op_a_", "op/a")}
    assert len(parts) == 4
    assert not any(set("[]()/") & set(part) for part in parts)
