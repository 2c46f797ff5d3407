"""Where to look closer: seldom where nobody is, more often around people, most often where something may happen.

A scout looks over the whole video; around each sample with a person the rate is raised; around each moment in which two
people touch, or one suddenly changes shape, once more. All instants lie on the grids k / rate, so that a slower grid is
part of a faster one whose rate is a multiple of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sentinel_assets.vision.frames import Frame

if TYPE_CHECKING:
    from sentinel_assets.vision.containers import DecodeDevice, DecodeWork

Array = NDArray[np.float64]
Span = tuple[float, float]


@dataclass(frozen=True)
class AdaptiveSampling:
    """Rates are samples a second, times seconds, lengths heights of the person's box."""

    scout_hz: float = 1.0
    """Presence, dwell and postures are robust at it; a visit takes minutes."""
    person_hz: float = 5.0
    """A reach of 0.6 s shows in two samples, and a walker's boxes overlap (simulated)."""
    candidate_hz: float = 10.0
    """Of a blow's wrist speed it shows nine tenths, 5 Hz only six (simulated)."""
    around_s: float = 3.0
    """To each side of a person or a candidate."""
    contact: float = 0.8
    """Distance of the feet within which two people may touch (BehaviorParameters.near)."""
    change: float = 1.6
    """Factor by which height over width changes within `change_s` of somebody who falls: it is 2.5 to 4 of a
    standing body, about 1.5 of a sitting one, and walking changes it by less than a third."""
    change_s: float = 1.0
    reach: float = 0.2
    """By how much the box of somebody who reaches out grows to one side within `change_s`, and nowhere else by more
    than `still`: an arm is 0.33 long. Where a hand goes that has taken something shows in the seconds after."""
    still: float = 0.06

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}, expected more than 0")
        if not self.scout_hz <= self.person_hz <= self.candidate_hz <= 30:
            raise ValueError("expected scout_hz <= person_hz <= candidate_hz <= 30")


class AtInstants:
    """The first frame at or after each of these instants, ascending; one frame that serves several is one sample. A
    sampling rule of `decoding.chosen_frames`."""

    def __init__(self, instants: Sequence[float], time_base: Fraction) -> None:
        self._ticks = [Fraction(instant).limit_denominator(1_000_000) / time_base for instant in instants]
        self._next = 0

    @property
    def finished(self) -> bool:
        return self._next >= len(self._ticks)

    def take(self, ticks: int) -> int:
        before = self._next
        while not self.finished and self._ticks[self._next] <= ticks:
            self._next += 1
        return int(self._next > before)


def frames_from(
    path: Path,
    instants: Sequence[float],
    *,
    on_damage: Callable[[str], None] | None = None,
    work: DecodeWork | None = None,
    device: DecodeDevice = "cpu",
) -> Iterator[Frame]:
    """The first frame at or after each instant (s from the first frame); `Frame.sample` counts them from 0."""
    from sentinel_assets.vision import decoding

    if not instants:
        return
    chosen = decoding.chosen_frames(
        path, lambda base: AtInstants(instants, base), on_damage=on_damage, work=work, device=device
    )
    for sample, one in enumerate(chosen):
        yield Frame(sample, one.time_s, one.picture)


def spans_around(moments: Iterable[float], around_s: float) -> list[Span]:
    """Overlapping stretches joined."""
    spans: list[Span] = []
    for moment in sorted(moments):
        start, end = max(0.0, moment - around_s), moment + around_s
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans


def instants(spans: Iterable[Span], rate_hz: float, *, but: float, end_s: float) -> list[float]:
    """k / rate within the spans and the video, without those on the grid of the rate `but`, which were looked at."""
    step, known = 1 / Fraction(rate_hz).limit_denominator(1000), 1 / Fraction(but).limit_denominator(1000)
    found = set()
    for start, end in spans:
        first, last = int(np.ceil(start * rate_hz - 1e-9)), int(np.floor(min(end, end_s) * rate_hz + 1e-9))
        found |= {k * step for k in range(first, last + 1) if (k * step) % known}
    return [float(instant) for instant in sorted(found)]


def candidates(
    times_s: Sequence[float], boxes: Sequence[Array], ids: Sequence[NDArray[np.int32]], sampling: AdaptiveSampling
) -> list[float]:
    """Times of the samples in which two people are within reach of each other, or one's shape has suddenly changed, or
    one who stands has put out an arm.

    `boxes` (N, 4) px and `ids` (N,) of each sample. Two who keep together touch all the time; of a contact the
    beginning counts, and every `around_s` anew.
    """
    found: list[float] = []
    met: dict[tuple[int, int], float] = {}
    shapes: dict[int, list[tuple[float, Array]]] = {}
    for time_s, found_boxes, found_ids in zip(times_s, boxes, ids, strict=True):
        tall = found_boxes[:, 3] - found_boxes[:, 1]
        longest = np.maximum(tall, found_boxes[:, 2] - found_boxes[:, 0])
        feet = np.column_stack([(found_boxes[:, 0] + found_boxes[:, 2]) / 2, found_boxes[:, 3]])
        for i in range(len(found_ids)):
            for j in range(i + 1, len(found_ids)):
                if found_ids[i] == found_ids[j]:
                    continue
                near = np.hypot(*(feet[i] - feet[j])) <= sampling.contact * (longest[i] + longest[j]) / 2
                pair = (int(min(found_ids[i], found_ids[j])), int(max(found_ids[i], found_ids[j])))
                if near and time_s - met.get(pair, -np.inf) >= sampling.around_s:
                    met[pair] = time_s
                    found.append(time_s)
            known = shapes.setdefault(int(found_ids[i]), [])
            known[:] = [(t, before) for t, before in known if time_s - t <= sampling.change_s + 1e-6]
            if any(_changes(before, found_boxes[i], sampling) for _, before in known):
                found.append(time_s)
                known.clear()
            known.append((time_s, found_boxes[i]))
    return sorted(set(found))


def _changes(before: Array, box: Array, sampling: AdaptiveSampling) -> bool:
    """Whether a body of the one box and then of the other has changed its shape, or put out an arm."""
    aspects = [(b[3] - b[1]) / max(b[2] - b[0], 1.0) for b in (before, box)]
    if max(aspects) >= sampling.change * max(min(aspects), 1e-3):
        return True
    left, top, right, bottom = (box - before) * (-1, -1, 1, 1) / max(before[3] - before[1], 1.0)
    out, others = max(left, right), (min(left, right), top, bottom)
    return bool(out >= sampling.reach and max(np.abs(others)) <= sampling.still)
