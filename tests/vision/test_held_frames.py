"""Frames that are kept are the same as those decoded anew, of the right file, and within their bound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sentinel_assets.vision.containers import DecodeWork
from sentinel_assets.vision.frames import Frame, frames_at, sample_frames
from sentinel_assets.vision.held_frames import DEFAULT_MB, HELD
from tests.builders.clips import frame_number, write_clip

FRAME_BYTES = 320 * 240 * 3 // 2


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(HELD, "bound_bytes", DEFAULT_MB << 20)
    HELD.forget()
    yield
    HELD.forget()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten seconds at 10 frames a second, lying on their side."""
    path = tmp_path / "clip.mp4"
    write_clip(path, frames=100, rate=10, width=320, height=240, gop=20, rotation=90)
    return path


def sampled(path: Path, keep: range = range(100)) -> list[float]:
    times = []
    for frame in sample_frames(path, 1.0):
        if frame.sample in keep:
            frame.keep()
        times.append(frame.time_s)
    return times


def looked_at(path: Path, times: list[float]) -> tuple[list[Frame], int]:
    """The frames, and how many packets were decoded for them."""
    work = DecodeWork()
    return list(frames_at(path, times, work=work)), work.packets


def test_what_is_kept_is_not_decoded_again_and_is_the_same(clip: Path) -> None:
    with HELD.known_as(clip, "etag"):
        times = sampled(clip)
        kept, packets = looked_at(clip, times)
    assert packets == 0
    anew, packets = looked_at(clip, times)  # nobody says any more what the file is
    assert packets > 0
    for one, other in zip(kept, anew, strict=True):
        assert (one.sample, one.time_s, one.width, one.height) == (other.sample, other.time_s, 320, 240)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.crop(10, 20, 200, 150), other.crop(10, 20, 200, 150))


def test_the_rest_is_decoded(clip: Path) -> None:
    """Frames with and without somebody in turns; a time that is asked for twice."""
    with HELD.known_as(clip, "etag"):
        times = sampled(clip, keep=range(0, 10, 3))
        frames, _ = looked_at(clip, [0.0, *times])
    assert [frame_number(frame.image) for frame in frames] == [0, *range(0, 100, 10)]
    assert [frame.sample for frame in frames] == list(range(11))


def test_another_copy_of_the_same_content_is_known(clip: Path, tmp_path: Path) -> None:
    """As each step of a job downloads its own."""
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(clip.read_bytes())
    with HELD.known_as(clip, "etag"):
        times = sampled(clip)
    with HELD.known_as(copy, "etag"):
        assert looked_at(copy, times)[1] == 0


def test_another_content_at_the_same_place_is_another_video(clip: Path) -> None:
    with HELD.known_as(clip, "before"):
        times = sampled(clip)
    with HELD.known_as(clip, "now"):
        assert looked_at(clip, times)[1] > 0
        sampled(clip, keep=range(1))
        assert HELD.bytes < 2 * 1.2 * FRAME_BYTES  # what was kept of the other is gone


def test_no_more_is_kept_than_there_is_room_for(clip: Path) -> None:
    HELD.bound_bytes = 4 * FRAME_BYTES
    with HELD.known_as(clip, "etag"):
        times = sampled(clip)
        assert 0 < HELD.bytes <= HELD.bound_bytes
        frames, packets = looked_at(clip, times)
    assert packets > 0
    assert [frame_number(frame.image) for frame in frames] == list(range(0, 100, 10))


def test_a_file_that_nobody_named_is_not_held(clip: Path) -> None:
    sampled(clip)
    assert HELD.bytes == 0
