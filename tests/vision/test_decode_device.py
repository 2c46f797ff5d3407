"""Decoding on a GPU gives the frames that the CPU gives, and where there is no GPU, the CPU gives them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sentinel_assets.vision.containers import DecodeWork, OpenVideo, as_of_the_cpu
from sentinel_assets.vision.errors import NotAVideo
from sentinel_assets.vision.frames import Frame, sample_frames
from tests.builders.clips import write_clip

CLIPS = (
    {"gop": 50},
    {"gop": 50, "b_frames": 3, "rotation": 90},
    {"codec": "libx265", "gop": 50},
    {"codec": "libx265", "gop": 50, "pixel_format": "yuv420p10le"},
    {"pixel_format": "yuvj420p"},
)


def same(ours: list[Frame], theirs: list[Frame]) -> bool:
    return len(ours) == len(theirs) > 0 and all(
        (one.time_s, one.rotation) == (other.time_s, other.rotation)
        and np.array_equal(one.image, other.image)
        and np.array_equal(one.resized(64), other.resized(64))
        and np.array_equal(one.crop(10, 10, 50, 60), other.crop(10, 10, 50, 60))
        for one, other in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("changes", CLIPS, ids=str)
def test_cuda_gives_the_same_frames_with_a_gpu_and_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    clip, work = tmp_path / "clip.mp4", DecodeWork()
    write_clip(clip, frames=100, **changes)
    with caplog.at_level(logging.WARNING):
        on_gpu = list(sample_frames(clip, 5.0, device="cuda", work=work))
    assert same(on_gpu, list(sample_frames(clip, 5.0)))
    if work.device == "cpu":
        assert "decoding on the CPU, since the GPU does not" in caplog.text
    assert work.planned


def test_a_file_that_is_no_video_is_refused_as_on_the_cpu(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video at all" * 100)
    with pytest.raises(NotAVideo, match="not a video file"):
        next(sample_frames(path, device="cuda"))


@pytest.mark.parametrize("changes", CLIPS, ids=str)
def test_the_layout_of_a_gpu_becomes_that_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """A decoder that lays frames out as NVDEC does: both chroma planes in one, ten bits at the top of sixteen."""
    clip = tmp_path / "clip.mp4"
    write_clip(clip, frames=100, **changes)
    expected = list(sample_frames(clip, 5.0))
    counted, laid_out = OpenVideo._counted, []

    def as_a_gpu(video: OpenVideo, frames: list[Any]) -> list[Any]:
        laid_out.extend(as_nvdec(frame) for frame in frames)
        return counted(video, laid_out[-len(frames) :] if frames else [])

    monkeypatch.setattr(OpenVideo, "_counted", as_a_gpu)
    assert same(list(sample_frames(clip, 5.0)), expected)
    assert {frame.format.name for frame in laid_out} <= {"nv12", "p010le"}


def as_nvdec(frame: Any) -> Any:
    ten_bits = "10" in frame.format.name
    full = frame.format.name.startswith("yuvj")
    given = frame.reformat(format="p010le" if ten_bits else "nv12", dst_color_range="JPEG" if full else None, threads=1)
    assert isinstance(given, av.VideoFrame)
    return given


def test_a_layout_of_the_cpu_stays_the_picture_that_it_is(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", frames=2)
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        frame = next(clip.decode(video=0))
    assert as_of_the_cpu(frame) is frame
