"""One behavior found by one rule, with what it was found from; rows of the `behaviors` table are made of these."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

RULES_REVISION = 2
"""Raised when a rule answers differently for the same features and parameters."""


@dataclass(frozen=True)
class Finding:
    """A stretch of time in which a rule found a behavior.

    `values` are what was measured, `thresholds` what it was held against, `samples` the ordinals of the video's samples
    that it rests on, `note` what a reader of the event should know.
    """

    track: int
    behavior: str
    start_s: float
    peak_s: float
    end_s: float
    confidence: float
    rule: str
    values: dict[str, Any]
    thresholds: dict[str, float]
    samples: list[int]
    needs_review: bool = False
    other_track: int | None = None
    note: str = ""
    frames: tuple[dict[str, Any], ...] = ()
    """What was seen of the people at the start, the peak and the end: time, box, keypoints."""
    camera: str = ""
    """The camera whose zones and rules were used; empty where none is known."""

    def __post_init__(self) -> None:
        if not self.start_s <= self.peak_s <= self.end_s:
            raise ValueError(f"{self.rule}: peak {self.peak_s} s is not within {self.start_s}..{self.end_s} s")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"{self.rule}: confidence {self.confidence}, expected [0, 1]")

    def row(self) -> dict[str, Any]:
        """As a row of BEHAVIORS_TABLE."""
        evidence = {
            "rule": self.rule,
            "revision": RULES_REVISION,
            "values": self.values,
            "thresholds": self.thresholds,
            "samples": self.samples,
        }
        if self.note:
            evidence["note"] = self.note
        if self.frames:
            evidence["frames"] = list(self.frames)
        if self.camera:
            evidence["camera"] = self.camera
        return {
            "track": self.track,
            "other_track": self.other_track,
            "behavior": self.behavior,
            "start_s": self.start_s,
            "peak_s": self.peak_s,
            "end_s": self.end_s,
            "confidence": self.confidence,
            "needs_review": self.needs_review,
            "evidence": json.dumps(evidence, sort_keys=True, allow_nan=False),
        }
