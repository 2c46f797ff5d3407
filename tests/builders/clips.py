"""Writes clips whose every frame says which frame it is.

The frame's number is burned in as a barcode of 4 x 4 black and white cells that survives lossy compression at any size
from 64 x 64. A test reads it back from a decoded image with `frame_number` and so knows which frame it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

_CELLS = 4
_BITS = _CELLS * _CELLS - 2  # two cells are fixed, one white and one black: they tell a barcode from a grey picture
SMALLEST_SIDE = 64

# The pixel format that each encoder is given: GIF's is grey, which it stores as a palette.
_PIXEL_FORMATS = {"gif": "gray", "mjpeg": "yuvj420p"}


@dataclass(frozen=True)
class ClipSpec:
    """What to write. `times` are PTS in ticks of `time_base`, one a frame; None means frame / `rate`.

    `rotation` is the display rotation counter-clockwise, degrees: the stored picture is turned so that the upright one
    reads. `gop` frames lie between keyframes; `options` go to the encoder as they are.
    """

    frames: int = 50
    width: int = 128
    height: int = 96
    rate: int = 25
    codec: str = "libx264"
    gop: int = 25
    b_frames: int = 0
    times: Sequence[int] | None = None
    time_base: Fraction | None = None
    rotation: int = 0
    pixel_format: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)

    @property
    def ticks(self) -> list[int]:
        return list(range(self.frames)) if self.times is None else list(self.times)

    @property
    def base(self) -> Fraction:
        return self.time_base or Fraction(1, self.rate)

    @property
    def seconds(self) -> list[float]:
        """When each frame is shown, seconds from the first."""
        first = min(self.ticks)
        return [float((tick - first) * self.base) for tick in self.ticks]


def frame_picture(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """An image (height, width, 3) that carries `number` in its barcode."""
    if min(width, height) < SMALLEST_SIDE:
        raise ValueError(f"a barcode needs {SMALLEST_SIDE} px a side, not {width}x{height}")
    if not 0 <= number < 2**_BITS:
        raise ValueError(f"a barcode holds 0..{2**_BITS - 1}, not {number}")
    cells = np.array([1, *((number >> bit) & 1 for bit in range(_BITS)), 0], np.uint8).reshape(_CELLS, _CELLS)
    rows = np.arange(height) * _CELLS // height
    columns = np.arange(width) * _CELLS // width
    grey = np.where(cells[rows][:, columns] == 1, np.uint8(215), np.uint8(40))
    return np.repeat(grey[:, :, None], 3, axis=2)


def frame_number(image: NDArray[np.uint8]) -> int:
    """The number that the barcode of an upright image carries."""
    height, width = image.shape[:2]
    if min(width, height) < 4 * _CELLS:
        raise ValueError(f"too small to read: {width}x{height}")
    grey = image.mean(axis=2)
    levels = [
        grey[_middle(row, height), _middle(column, width)].mean() for row in range(_CELLS) for column in range(_CELLS)
    ]
    white, black = levels[0], levels[-1]
    if white - black < 90 or any(90 < level < 165 for level in levels):
        raise ValueError(f"no readable barcode: levels {[round(float(level)) for level in levels]}")
    return sum(1 << bit for bit, level in enumerate(levels[1:-1]) if level > 127)


def _middle(cell: int, length: int) -> slice:
    """The inner half of a cell along one axis."""
    return slice((4 * cell + 1) * length // (4 * _CELLS), max(1, (4 * cell + 3) * length // (4 * _CELLS)))


def write_clip(
    path: Path, *, picture: Callable[[int, int, int], NDArray[np.uint8]] = frame_picture, **changes: Any
) -> ClipSpec:
    """Writes a clip of these `ClipSpec` fields, in the container that the suffix names; returns what was written.

    `picture` draws frame `number` at a width and height.
    """
    spec = ClipSpec(**changes)
    upright = (spec.width, spec.height)
    quarter_turns = spec.rotation // 90
    stored = upright if quarter_turns % 2 == 0 else upright[::-1]
    with av.open(str(path), "w", options=dict(spec.container_options)) as container:
        stream = container.add_stream(spec.codec, rate=spec.rate, options=_encoder_options(spec))
        stream.width, stream.height = stored
        stream.pix_fmt = spec.pixel_format or _PIXEL_FORMATS.get(spec.codec, "yuv420p")
        stream.time_base = spec.base
        stream.codec_context.time_base = spec.base
        if spec.rotation:
            stream.set_display_rotation(spec.rotation)
        for number, tick in enumerate(spec.ticks):
            # The display turns the stored picture counter-clockwise, so it is stored turned the other way.
            stored_picture = np.ascontiguousarray(np.rot90(picture(number, *upright), -quarter_turns))
            frame = av.VideoFrame.from_ndarray(stored_picture, format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = tick, spec.base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return spec


def _encoder_options(spec: ClipSpec) -> dict[str, str]:
    options = {"g": str(spec.gop)}
    if spec.codec == "libx264":
        options |= {"bf": str(spec.b_frames), "preset": "veryfast", "sc_threshold": "0", "threads": "1"}
    elif spec.codec == "libx265":
        options |= {
            "preset": "ultrafast",
            "x265-params": f"keyint={spec.gop}:min-keyint={spec.gop}:scenecut=0:bframes={spec.b_frames}"
            ":open-gop=0:log-level=none:pools=none:frame-threads=1",
        }
    elif spec.codec == "mpeg4":
        options |= {"bf": str(spec.b_frames), "q": "4"}
    elif spec.codec.startswith("libvpx"):
        options |= {"deadline": "realtime", "cpu-used": "8"}
    elif spec.codec in ("gif", "mjpeg"):
        options = {}
    return options | dict(spec.options)


def remux(source: Path, destination: Path, *, drop: Sequence[int] = (), corrupt: Sequence[int] = ()) -> None:
    """Copies the video stream into another container without encoding.

    The packets whose place in decode order is in `drop` are left out; those in `corrupt` have their payload replaced.
    """
    with av.open(str(source)) as old, av.open(str(destination), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for place, packet in enumerate(old.demux(stream)):
            if packet.size == 0 or place in drop:
                continue
            if packet.dts is None:  # Matroska does not say it for the first packets of a stream with B-frames
                packet.dts = place - 1000
            written = packet
            if place in corrupt:
                noise = np.random.default_rng(place).integers(0, 256, packet.size, dtype=np.uint8).tobytes()
                written = av.Packet(noise)
                written.pts, written.dts, written.time_base = packet.pts, packet.dts, packet.time_base
                written.is_keyframe = packet.is_keyframe
            written.stream = copy
            new.mux(written)


def loop(source: Path, destination: Path, times: int, *, one_group: bool = False) -> None:
    """The video's packets over and over, time going on; with `one_group` only the first is marked as a keyframe."""
    with av.open(str(source)) as old, av.open(str(destination), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        packets = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in old.demux(stream) if p.size]
        length = packets[-1][1] + packets[1][1] - packets[0][1]
        for turn in range(times):
            for data, pts, dts, is_keyframe in packets:
                packet = av.Packet(data)
                packet.pts, packet.dts, packet.time_base = pts + turn * length, dts + turn * length, stream.time_base
                packet.is_keyframe = is_keyframe and not (one_group and turn)
                packet.stream = copy
                new.mux(packet)


def truncate(source: Path, destination: Path, fraction: float) -> None:
    """The first `fraction` of the file's bytes."""
    data = source.read_bytes()
    destination.write_bytes(data[: int(len(data) * fraction)])
