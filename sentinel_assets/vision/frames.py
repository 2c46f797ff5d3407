"""Frames of a video at chosen times: exact time stamps, upright, and only what is needed decoded and converted.

    clip = probe(path)
    for frame in sample_frames(path, rate_hz=1.0):
        detector.detect([frame.resized(640)])

A sample is the first frame in presentation order at or after k / rate seconds from the first frame, for k = 0, 1,
2, ...; a frame is taken once. Times are presentation time stamps, never an index divided by a rate, except in a file
that carries no time stamps at all. Memory does not grow with the length of the video.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentinel_assets.vision.errors import FootageDamaged
from sentinel_assets.vision.gop import AtRate, AtTimes
from sentinel_assets.vision.held_frames import HELD
from sentinel_assets.vision.protocols import Image

if TYPE_CHECKING:
    from sentinel_assets.vision.containers import DecodeDevice, DecodeWork


@dataclass(frozen=True)
class Clip:
    """What a file says about itself.

    `width` and `height` are those of the upright picture, px; `duration_s` is what the container declares (a truncated
    file is shorter) or else what its packets span; `average_rate` is frames a second; `rotation` is the turn,
    counter-clockwise, that makes the stored picture upright, degrees: 0, 90, 180 or 270.
    """

    path: Path
    container: str
    codec: str
    width: int
    height: int
    duration_s: float
    average_rate: float
    rotation: int


class Frame:
    """A decoded frame. Pixels are converted when they are asked for, and only those that are.

    `sample` is its ordinal among the samples, from 0; `time_s` is its presentation time, seconds from the first frame;
    `width` and `height` are those of the upright picture, px. All images are (H, W, 3) uint8 RGB.
    """

    def __init__(self, sample: int, time_s: float, picture: Any, path: Path | None = None) -> None:
        """`path`: of the file that it is from, by which it may be kept."""
        from sentinel_assets.vision.pixels import quarter_turns

        self._path = path
        self.sample = sample
        self.time_s = time_s
        self._picture = picture
        self._turns = quarter_turns(picture)
        stored = (picture.width, picture.height)
        self.width, self.height = stored[::-1] if self._turns % 2 else stored

    @property
    def rotation(self) -> int:
        """The counter-clockwise turn that made the stored picture upright, degrees."""
        return 90 * self._turns

    def __repr__(self) -> str:
        return f"Frame(sample={self.sample}, time_s={self.time_s:.3f}, {self.width}x{self.height})"

    def keep(self) -> None:
        """Later stages of this process will want it again (`held_frames.py`)."""
        if self._path is not None:
            HELD.keep(self._path, self.time_s, self._picture)

    @cached_property
    def image(self) -> Image:
        """The whole frame."""
        from sentinel_assets.vision.pixels import to_rgb

        return to_rgb(self._picture, self._turns)

    def resized(self, long_side: int) -> Image:
        """The whole frame, scaled so that its longer side has `long_side` px."""
        from sentinel_assets.vision.pixels import to_rgb

        if long_side < 1:
            raise ValueError(f"long_side is {long_side}, expected at least 1")
        scale = long_side / max(self._picture.width, self._picture.height)
        size = (max(1, round(self._picture.width * scale)), max(1, round(self._picture.height * scale)))
        return to_rgb(self._picture, self._turns, size=size)

    def crop(self, x1: float, y1: float, x2: float, y2: float) -> Image:
        """The pixels that the box touches, px of the upright frame; what lies outside the frame is left out.

        A box that does not overlap the frame at all is a ValueError. The values may differ by a few grey levels from
        the same region of `image`: chroma is interpolated within the crop.
        """
        from sentinel_assets.vision.pixels import crop_to_rgb

        left, top = max(0, math.floor(x1)), max(0, math.floor(y1))
        right, bottom = min(self.width, math.ceil(x2)), min(self.height, math.ceil(y2))
        if left >= right or top >= bottom:
            raise ValueError(f"box {(x1, y1, x2, y2)} does not overlap the frame of {self.width}x{self.height}")
        return crop_to_rgb(self._picture, self._turns, (left, top, right, bottom))


def probe(path: Path) -> Clip:
    """What kind of video this is, from its header and first frame.

    Raises FootageMissing, NotAVideo or FootageDamaged.
    """
    from sentinel_assets.vision import containers, decoding

    first = next(decoding.chosen_frames(path, lambda base: AtTimes([0.0], base), on_damage=lambda _: None)).picture
    frame = Frame(0, 0.0, first)
    with containers.open_video(path) as video:
        return Clip(
            path=Path(path),
            container=video.container.format.name,
            codec=video.codec,
            width=frame.width,
            height=frame.height,
            duration_s=video.duration_s(),
            average_rate=float(video.rate),
            rotation=frame.rotation,
        )


def sample_frames(
    path: Path,
    rate_hz: float = 1.0,
    *,
    on_damage: Callable[[str], None] | None = None,
    work: DecodeWork | None = None,
    device: DecodeDevice = "cpu",
) -> Iterator[Frame]:
    """The video's samples, `rate_hz` of them a second of presentation time.

    A damaged or truncated file gives the frames that can be decoded, and then says so: each kind of damage is one call
    of `on_damage` with a line of text, after the last frame; without `on_damage` it is logged as a warning. `work`
    counts what was decoded. `device` "cuda" decodes on a GPU, where there is one that can, and gives the same frames.
    Raises FootageMissing, NotAVideo, or FootageDamaged where no frame at all can be decoded.
    """
    from sentinel_assets.vision import decoding

    if not (rate_hz > 0 and math.isfinite(rate_hz)):
        raise ValueError(f"rate_hz is {rate_hz}, expected a positive number")
    chosen = decoding.chosen_frames(
        path, lambda base: AtRate(rate_hz, base), on_damage=on_damage, work=work, device=device
    )
    for sample, one in enumerate(chosen):
        yield Frame(sample, one.time_s, one.picture, path)


def frames_at(path: Path, times_s: Sequence[float], *, work: DecodeWork | None = None) -> Iterator[Frame]:
    """The frames at exactly these times (as `sample_frames` gave them), ascending; those that are kept are not decoded.

    `Frame.sample` is the index in `times_s`. Raises FootageDamaged where the file has no frame at one of the times: it
    is not the file that was sampled.
    """
    times = [float(time_s) for time_s in times_s]
    if any(later < earlier for earlier, later in pairwise(times)):
        raise ValueError("times_s must ascend")
    if not times:
        return
    if not (times[0] >= 0 and math.isfinite(times[-1])):
        raise ValueError("times_s must be finite and not negative")
    kept = [HELD.find(path, time_s) for time_s in times]
    decoded = _decoded_at(path, [t for t, picture in zip(times, kept, strict=True) if picture is None], work)
    for index, (time_s, picture) in enumerate(zip(times, kept, strict=True)):
        yield Frame(index, *((time_s, picture) if picture is not None else next(decoded)))


def _decoded_at(path: Path, times: Sequence[float], work: DecodeWork | None) -> Iterator[tuple[float, Any]]:
    from sentinel_assets.vision import decoding

    if not times:
        return
    given = 0
    chosen = decoding.chosen_frames(path, lambda base: AtTimes(times, base), on_damage=lambda _: None, work=work)
    for one in chosen:
        for _ in range(one.samples):
            if abs(one.time_s - times[given]) > AtTimes.TOLERANCE_S:
                raise _no_frame_at(path, times[given])
            given += 1
            yield one.time_s, one.picture
    if given < len(times):
        raise _no_frame_at(path, times[given])


def _no_frame_at(path: Path, time_s: float) -> FootageDamaged:
    return FootageDamaged(
        f"no frame at {time_s:.3f} s", where=path, remedy="It is not the file that was sampled: analyse it anew"
    )
