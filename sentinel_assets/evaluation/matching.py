"""Which found events are labelled ones: one to one, of the same label, overlapping in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from sentinel_assets.evaluation.dataset import Span
from sentinel_assets.vision.tables import BEHAVIORS

ALARMS = ("theft", "collapse", "violent")
"""Judged also where no clip is labelled so: each one found there is a false alarm."""
POSTURES = ("walking", "standing", "sitting")
"""Judged only within labelled time: who labels a fall does not say what is done before and after."""


@dataclass(frozen=True)
class Found:
    """An event of the analysis."""

    label: str
    start_s: float
    peak_s: float
    end_s: float
    track: int
    confidence: float


@dataclass(frozen=True)
class Matching:
    """Of one clip: pairs, labelled events that were not found, and found events that nobody labelled."""

    hits: tuple[tuple[Span, Found], ...] = ()
    missed: tuple[Span, ...] = ()
    false: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Score:
    """Counts of one label; a quotient without a denominator is None, not 0 or 1."""

    hits: int = 0
    missed: int = 0
    false: int = 0

    @property
    def precision(self) -> float | None:
        return self.hits / (self.hits + self.false) if self.hits + self.false else None

    @property
    def recall(self) -> float | None:
        return self.hits / (self.hits + self.missed) if self.hits + self.missed else None

    @property
    def f1(self) -> float | None:
        total = 2 * self.hits + self.missed + self.false
        return 2 * self.hits / total if total else None

    def __add__(self, other: Score) -> Score:
        return Score(self.hits + other.hits, self.missed + other.missed, self.false + other.false)


def match(spans: Sequence[Span], found: Sequence[Found], *, judged: Iterable[str], tolerance_s: float) -> Matching:
    """An event is found when one of its label overlaps it, after both ends gave way by the tolerance; the pairing is
    that of the largest total overlap. Two found events for one labelled are one hit and one false, unless they are
    parts of one posture."""
    hits: list[tuple[Span, Found]] = []
    missed: list[Span] = []
    false: list[Found] = []
    for label in BEHAVIORS:
        if label not in set(judged):
            continue
        wanted = [span for span in spans if span.label == label]
        there = [event for event in found if event.label == label]
        overlap = np.array([[_overlap(span, event) + tolerance_s for event in there] for span in wanted])
        overlap = overlap.reshape(len(wanted), len(there))
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        pairs = {(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if overlap[r, c] >= 0}
        hits += [(wanted[r], there[c]) for r, c in sorted(pairs)]
        taken_rows, taken_columns = {r for r, _ in pairs}, {c for _, c in pairs}
        missed += [span for r, span in enumerate(wanted) if r not in taken_rows]
        rest = [event for c, event in enumerate(there) if c not in taken_columns]
        if label in POSTURES:
            rest = [event for event in rest if _contradicts(event, spans, tolerance_s)]
        false += rest
    return Matching(tuple(hits), tuple(missed), tuple(false))


def score(matchings: Iterable[Matching], label: str) -> Score:
    total = Score()
    for matching in matchings:
        total += Score(
            sum(span.label == label for span, _ in matching.hits),
            sum(span.label == label for span in matching.missed),
            sum(event.label == label for event in matching.false),
        )
    return total


def _overlap(span: Span, event: Found) -> float:
    """s; negative: what lies between them."""
    return min(span.end_s, event.end_s) - max(span.start_s, event.start_s)


def _contradicts(event: Found, spans: Sequence[Span], tolerance_s: float) -> bool:
    """Whether a posture is said of time, more than the tolerance of it, that is labelled as something else; a part of
    an equal label is none."""
    same = any(span.label == event.label and _overlap(span, event) > 0 for span in spans)
    other = sum(max(0.0, _overlap(span, event)) for span in spans if span.label != event.label)
    return not same and other > tolerance_s
