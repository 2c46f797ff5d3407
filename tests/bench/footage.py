"""Clips as a shop's camera makes them, 1080p, every frame with its number burned into a corner."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.builders.clips import frame_number, frame_picture, write_clip

WIDTH, HEIGHT, RATE = 1920, 1080, 25
CORNER = 192
"""px: the side of the square with the frame's number."""
_SCENES = 8  # pictures with noise of their own that take turns
_CAMERA = {"b:v": "4M", "maxrate": "4M", "bufsize": "8M", "threads": "2"}


TIME_BASE = Fraction(1, 1000)

PEOPLE = 3
_LOOKS = ((5, 300, 90), (3, 420, 160), (2, 360, 120))
"""Speed px a frame, top px, brightness, of blocks of a person's size that walk to and fro behind one another."""
_BODY = (150, 420)


def people(number: int, count: int = PEOPLE) -> list[tuple[int, int, int, int]]:
    """Where so many are in that frame: x1, y1, x2, y2 px."""
    width, height = _BODY
    found = []
    for place in range(count):
        speed, top, _ = _LOOKS[place % len(_LOOKS)]
        way = WIDTH - CORNER - width
        along = (number * speed + 500 * place) % (2 * way)
        left = CORNER + (along if along < way else 2 * way - along)
        found.append((left, top, left + width, top + height))
    return found


def _every_40_ms(frames: int) -> list[int]:
    return [40 * number for number in range(frames)]


def _late(frames: int) -> list[int]:
    return [7300 + tick for tick in _every_40_ms(frames)]


def _varying(frames: int) -> list[int]:
    """25 frames a second with jitter, then half as many, a gap of 3.7 s, and 20 a second."""
    rng, ticks, now = random.Random(3), [], 0.0  # noqa: S311 - a fixed pattern
    for number in range(frames):
        ticks.append(round(now))
        if number == 2 * frames // 3:
            now += 3700
        step = 40 if number < frames // 3 else 80 if number < 2 * frames // 3 else 50
        now += step + rng.uniform(-8, 8)
    return ticks


@dataclass(frozen=True)
class Kind:
    """A kind of file, and how many times the CPU of reading every frame shall be that of ours, at the least."""

    name: str
    suffix: str
    goal: float | None
    clip: Mapping[str, Any] = field(default_factory=dict)
    times: Callable[[int], list[int]] = _every_40_ms

    def times_s(self, seconds: int) -> list[float]:
        """When each frame is shown, seconds from the first."""
        ticks = self.times(seconds * RATE)
        return [float((tick - ticks[0]) * TIME_BASE) for tick in ticks]

    def make(self, folder: Path, seconds: int, count: int = PEOPLE) -> Path:
        """The clip of about so many seconds, with so many people; made once."""
        crowd = "" if count == PEOPLE else f"-{count}-people"
        path = folder / f"{self.name.replace(' ', '-').replace(',', '')}-{seconds}s{crowd}{self.suffix}"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"unfinished-{path.name}")
            frames = seconds * RATE
            camera = {"width": WIDTH, "height": HEIGHT, "rate": RATE, "time_base": TIME_BASE}
            times = self.times(frames)
            write_clip(unfinished, picture=_shop(count), frames=frames, times=times, **camera, **self.clip)
            unfinished.replace(path)
        return path


_H264 = {"codec": "libx264", "options": _CAMERA}
KINDS = (
    Kind("H.264 GOP 50", ".mp4", 2.0, {**_H264, "gop": 50}),
    Kind("H.264 GOP 250", ".mp4", 1.3, {**_H264, "gop": 250}),
    Kind("H.264 B-frames", ".mp4", 1.8, {**_H264, "gop": 250, "b_frames": 3}),
    Kind("HEVC GOP 50", ".mp4", 2.0, {"codec": "libx265", "gop": 50}),
    Kind("H.264 variable rate", ".mkv", 1.5, {**_H264, "gop": 50}, _varying),
    Kind("H.264 late start", ".mkv", None, {**_H264, "gop": 50}, _late),
)
"""The goals are those that decoding by plan reached on two cores when its design was chosen; of a late start only the
times are of interest."""


def number_in(image: NDArray[np.uint8]) -> int:
    """Which frame an upright image (H, W, 3) of any size shows."""
    side = CORNER * image.shape[1] // WIDTH
    return frame_number(image[:side, :side])


def _shop(count: int) -> Callable[[int, int, int], NDArray[np.uint8]]:
    """Draws shelves, people-sized blocks that move, and the noise of a sensor."""
    rng = np.random.default_rng(7)
    shelves = np.repeat(np.repeat(rng.integers(40, 200, (HEIGHT // 40, WIDTH // 40, 3)), 40, axis=0), 40, axis=1)
    noisy = [np.clip(shelves + rng.normal(0, 3, shelves.shape), 0, 255).astype(np.uint8) for _ in range(_SCENES)]

    def draw(number: int, width: int, height: int) -> NDArray[np.uint8]:
        image = noisy[number % _SCENES].copy()
        for (x1, y1, x2, y2), (_, _, colour) in zip(people(number, count), cycle(_LOOKS), strict=False):
            image[y1:y2, x1:x2] = image[y1:y2, x1:x2] // 2 + colour // 2
        image[:CORNER, :CORNER] = frame_picture(number, CORNER, CORNER)
        return image

    return draw
