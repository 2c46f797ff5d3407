"""A data set analysed and held against its labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sentinel_assets.evaluation import boxes, seconds
from sentinel_assets.evaluation.dataset import Dataset, LabelledClip, TruthBoxes
from sentinel_assets.evaluation.matching import ALARMS, Found, Matching, Score, match, score
from sentinel_assets.vision.tables import BEHAVIORS, Sampling

TOLERANCE_S = 1.0
"""At one sample a second an event's ends are known to a second."""


@dataclass(frozen=True)
class Analysis:
    """What the analysis makes of a clip. `frames_per_second` of the clip tell which of its frames were sampled."""

    detections: pd.DataFrame
    poses: pd.DataFrame
    behaviors: pd.DataFrame
    frames_per_second: float


Analyse = Callable[[Path], Analysis]


@dataclass(frozen=True)
class ClipResult:
    """One clip: events matched, (second, labelled, said) for every labelled second, and boxes sample by sample."""

    clip: LabelledClip
    analysis: Analysis
    matching: Matching
    seconds: tuple[tuple[float, str, str], ...]
    samples: tuple[boxes.Sample, ...] = ()

    @property
    def duration_s(self) -> float:
        return Sampling.of(self.analysis.detections).duration_s


@dataclass(frozen=True)
class Evaluation:
    """All clips of a data set; `figures` are what a gate is held against."""

    dataset: str
    tolerance_s: float
    judged: tuple[str, ...]
    clips: tuple[ClipResult, ...]
    recipes: Mapping[str, str] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, Score]:
        return {label: score((clip.matching for clip in self.clips), label) for label in self.judged}

    @property
    def hours(self) -> float:
        return sum(clip.duration_s for clip in self.clips) / 3600

    @property
    def false_alarms(self) -> int:
        return sum(e.label in (*ALARMS, "anomaly") for clip in self.clips for e in clip.matching.false)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [(labelled, said) for clip in self.clips for _, labelled, said in clip.seconds]

    @property
    def average_rate_hz(self) -> float | None:
        """Frames looked at in a second, over all clips."""
        frames = sum(len(Sampling.of(clip.analysis.detections).times_s) for clip in self.clips)
        return frames / (self.hours * 3600) if self.hours else None

    @property
    def figures(self) -> dict[str, float | None]:
        """Every figure by its name; None where the labels carry none."""
        found: dict[str, float | None] = {}
        for label, counted in self.scores.items():
            found |= {
                f"{label}.precision": counted.precision,
                f"{label}.recall": counted.recall,
                f"{label}.f1": counted.f1,
            }
        found["false_alarms_per_hour"] = self.false_alarms / self.hours if self.hours else None
        found["postures.accuracy"] = seconds.accuracy(self.pairs)
        samples = [sample for clip in self.clips for sample in clip.samples]
        if samples:
            tracked = [boxes.idf1(clip.samples) for clip in self.clips if clip.samples]
            known = [figure for figure in tracked if figure is not None]
            found |= {
                "boxes.ap50": boxes.average_precision(samples),
                "boxes.idf1": float(np.mean(known)) if known else None,
                "boxes.identity_switches": float(
                    sum(boxes.identity_switches(clip.samples) for clip in self.clips if clip.samples)
                ),
            }
        return found


def evaluate(
    dataset: Dataset,
    analyse: Analyse,
    *,
    tolerance_s: float = TOLERANCE_S,
    recipes: Mapping[str, str] | None = None,
    on_clip: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Analyse every clip and hold it against its labels.

    Judged are the labels that occur in the data set, and the alarms, which are false wherever nobody labelled one.
    """
    labelled = {span.label for clip in dataset.clips for span in clip.spans}
    judged = tuple(label for label in BEHAVIORS if label in labelled or (label in ALARMS and labelled))
    results = []
    for clip in dataset.clips:
        on_clip(clip.name)
        results.append(_judge(clip, analyse(clip.path), judged, tolerance_s))
    return Evaluation(dataset.name, tolerance_s, judged, tuple(results), recipes or {})


def _judge(clip: LabelledClip, analysis: Analysis, judged: Sequence[str], tolerance_s: float) -> ClipResult:
    behaviors = analysis.behaviors
    events = [_found(row) for row in behaviors.to_dict("records") if row["behavior"] in BEHAVIORS]
    spoken = tuple(
        (second, labelled, seconds.posture_at(behaviors, second, labelled))
        for second, labelled in seconds.labelled_seconds(clip.spans)
    )
    matching = match(clip.spans, events, judged=judged, tolerance_s=tolerance_s) if clip.spans else Matching()
    samples = _samples(analysis, clip.boxes) if clip.boxes is not None else ()
    return ClipResult(clip, analysis, matching, spoken, samples)


def _found(row: Mapping[Any, Any]) -> Found:
    return Found(
        label=str(row["behavior"]),
        start_s=float(row["start_s"]),
        peak_s=float(row["peak_s"]),
        end_s=float(row["end_s"]),
        track=int(row["track"]),
        confidence=float(row["confidence"]),
    )


def _samples(analysis: Analysis, truth: TruthBoxes) -> tuple[boxes.Sample, ...]:
    """Sampled frames as the labels count them: from 1, at the clip's rate; frames without a label are empty of people
    only up to the last labelled one."""
    people = analysis.detections[analysis.detections["kind"] == "person"]
    samples = []
    for number, time_s in enumerate(Sampling.of(analysis.detections).times_s):
        frame = round(time_s * analysis.frames_per_second) + 1
        if len(truth.frames) and frame > truth.frames.max():
            break
        here, rows = truth.frames == frame, people[people["sample"] == number]
        samples.append(
            boxes.Sample(
                truth.boxes[here],
                truth.ids[here],
                rows[["x1", "y1", "x2", "y2"]].to_numpy(float),
                rows["track"].to_numpy(np.int64),
                rows["confidence"].to_numpy(float),
            )
        )
    return tuple(samples)
