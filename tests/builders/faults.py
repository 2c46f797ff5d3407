"""Makes the files that a recorder, a broken copy or a careless person leaves behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.builders.clips import truncate, write_clip


def cut(source: Path, destination: Path, *, seconds: float) -> Path:
    """The first seconds of a clip, its packets copied as they are."""
    with av.open(str(source)) as original, av.open(str(destination), "w") as copy:
        stream = original.streams.video[0]
        target = copy.add_stream_from_template(stream)
        for packet in original.demux(stream):
            if packet.dts is None or packet.dts * stream.time_base >= seconds:
                break
            packet.stream = target
            copy.mux(packet)
    return destination


def text_named_mp4(path: Path) -> Path:
    path.write_text("This is no video, whatever it is called.\n" * 200)
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def truncated(path: Path) -> Path:
    """A recorder that lost its power: the index at the end of the file was never written."""
    return _half(path, frames=100)


def truncated_after_its_index(path: Path) -> Path:
    """A copy that broke off: the index is at the front, and tells of frames that are not there."""
    return _half(path, frames=250, container_options={"movflags": "faststart"})


def _half(path: Path, **spec: Any) -> Path:
    whole = path.with_name(f"whole-{path.name}")
    write_clip(whole, **spec)
    truncate(whole, path, 0.5)
    whole.unlink()
    return path


def slower_than_its_header_says(path: Path) -> Path:
    """A whole MP4 of which FFmpeg gives frames far beyond the duration in its header: its table of times lost a number.

    stts: version and flags, number of entries, then for each its count and duration (ISO/IEC 14496-12, 8.6.1.2).
    """
    write_clip(path, frames=30, rate=10, time_base=Fraction(1, 1000), times=[100 * i for i in range(30)])
    content = bytearray(path.read_bytes())
    count = content.index(b"stts") + 12
    content[count : count + 4] = bytes(4)
    path.write_bytes(content)
    return path


def sound_only(path: Path) -> Path:
    """A container without a video stream."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        for start in range(0, 16000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def one_frame(path: Path) -> Path:
    write_clip(path, frames=1)
    return path


def twenty_by_twenty(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 20
        stream.pix_fmt = "yuv420p"
        for _ in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((20, 20, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def missing(path: Path) -> Path:
    return path


def unreadable_name(path: Path) -> Path:
    """A text file again, whose name would upset a format string, a shell and a terminal."""
    path = path.with_name("[red]%s {x} '; drop table videos;--\u202e.mp4")
    shutil.copyfile(__file__, path)
    return path


BAD_FOOTAGE: Mapping[str, tuple[Callable[[Path], Path], str]] = {
    # what it is: how it is made, and words that its error must have
    "a text file named .mp4": (text_named_mp4, "not a video"),
    "an empty file": (empty, "empty"),
    "a folder": (folder, "not a file"),
    "a truncated MP4": (truncated, "truncated"),
    "an MP4 truncated after its index": (truncated_after_its_index, "truncated"),
    "a container without video": (sound_only, "without a video stream"),
    "a video of one frame": (one_frame, "single frame"),
    "a video of 20x20 px": (twenty_by_twenty, "20x20"),
    "a missing file": (missing, "no such file"),
    "a name full of traps": (unreadable_name, "not a video"),
}
