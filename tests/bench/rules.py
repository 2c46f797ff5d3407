"""Precision and recall of every rule, and the tracker's IDF1, on synthetic scenes: `python -m tests.bench.rules`.

Scenes come from `tests.builders.tracks`: each shows one thing, or something that is easily taken for it, in several
directions, at several phases of the sampling, with noise of its own. The figures say what the rules make of clean
skeletons; what detectors and pose models lose on top of it, real clips show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from sentinel_assets.evaluation.boxes import Sample, identity_switches, idf1
from sentinel_assets.evaluation.matching import Score
from sentinel_assets.vision.behaviors import recognise_behaviors
from sentinel_assets.vision.tracking import Tracker
from tests.builders.tracks import Act, Actor, Camera, Scene, stay, walk

RATES = (1.0, 5.0, 10.0)
TRACKING_RATES = (1.0, 2.0, 5.0, 10.0)
HEADINGS = (20.0, 90.0, 160.0, 250.0)
PHASES_S = (0.0, 0.35, 0.7)
NOISE = {"box_noise": 0.02, "point_noise": 0.012}


@dataclass(frozen=True)
class Case:
    """What a person does, and the labels that must and that must not be found of the first one."""

    name: str
    must: frozenset[str]
    steps: tuple[tuple[float, str, float], ...] = ()
    speed: float = 0.0
    lasts_s: float = 10.0
    other: str = ""
    """A second person at arm's length, in this posture."""


RULES = ("walking", "standing", "sitting", "picking", "theft", "collapse", "violent", "anomaly")
CASES = (
    Case("stands", frozenset({"standing"}), ((0, "swaying", 0),)),
    Case("strolls", frozenset({"walking"}), ((0, "walking", 0),), speed=0.15, lasts_s=8),
    Case("walks slowly", frozenset({"walking"}), ((0, "walking", 0),), speed=0.35, lasts_s=6),
    Case("walks", frozenset({"walking"}), ((0, "walking", 0),), speed=0.8, lasts_s=6),
    Case("sits", frozenset({"sitting"}), ((0, "sitting", 0),)),
    Case("sits down", frozenset({"standing", "sitting"}), ((0, "standing", 0), (3, "sitting", 1.0))),
    Case("falls", frozenset({"standing", "collapse"}), ((0, "standing", 0), (3, "lying", 0.8))),
    Case("falls slowly", frozenset({"standing", "collapse"}), ((0, "standing", 0), (3, "lying", 1.2))),
    Case("falls off a chair", frozenset({"sitting", "collapse"}), ((0, "sitting", 0), (4, "lying", 0.8))),
    Case(
        "lies down on a bed",
        frozenset({"standing", "sitting", "anomaly"}),
        ((0, "standing", 0), (3, "sitting", 1.2), (7, "lying_high", 2.0)),
        lasts_s=14,
    ),
    Case("lies", frozenset({"anomaly"}), ((0, "lying", 0),)),
    Case(
        "reaches",
        frozenset({"standing", "picking"}),
        ((0, "standing", 0), (3, "reaching", 0.5), (4.2, "standing", 0.5)),
    ),
    Case(
        "reaches quickly",
        frozenset({"standing", "picking"}),
        ((0, "standing", 0), (3, "reaching", 0.3), (3.6, "standing", 0.3)),
    ),
    Case(
        "bends", frozenset({"standing", "picking"}), ((0, "standing", 0), (3, "bending", 0.6), (4.6, "standing", 0.6))
    ),
    Case(
        "squats", frozenset({"standing", "picking"}), ((0, "standing", 0), (3, "squatting", 0.6), (5, "standing", 0.6))
    ),
    Case(
        "holds an arm out",
        frozenset({"standing"}),
        ((0, "standing", 0), (2, "reaching", 0.5), (8, "standing", 0.5)),
        lasts_s=12,
    ),
    Case(
        "takes and hides",
        frozenset({"standing", "picking", "theft"}),
        ((0, "standing", 0), (3, "reaching", 0.5), (4.2, "concealing", 0.5), (9, "standing", 0.5)),
        lasts_s=12,
    ),
    Case("stands with a hand at the hip", frozenset({"standing"}), ((0, "concealing", 0),), lasts_s=12),
    Case(
        "strikes",
        frozenset({"standing", "violent"}),
        ((0, "standing", 0), (2, "striking", 0.2), (5, "standing", 0.3)),
        other="standing",
    ),
    Case(
        "talks",
        frozenset({"standing"}),
        ((0, "swaying", 0), (3, "reaching", 0.6), (9, "swaying", 0.6)),
        other="swaying",
    ),
)


def scenes(case: Case, rate_hz: float) -> Iterator[Scene]:
    """The case in every direction, at every phase of the sampling, with another noise each time."""
    for seed, (heading, phase_s) in enumerate(product(HEADINGS, PHASES_S)):
        acts = tuple(Act(start + (phase_s if start else 0.0), posture, lasts) for start, posture, lasts in case.steps)
        if case.speed:
            actors: tuple[Actor, ...] = (
                replace(walk(heading, case.speed, middle=(0, 8), duration_s=case.lasts_s), acts=acts),
            )
        else:
            turned = 90.0 if case.other else heading
            actors = (stay(acts, heading_deg=turned),)
        if case.other:
            actors += (stay([Act(0, case.other)], at=(0.7, 7.0), heading_deg=270),)
        yield Scene(actors, case.lasts_s, rate_hz, seed=seed, **NOISE)  # type: ignore[arg-type]


def rule_scores(rate_hz: float, cases: Sequence[Case] = CASES) -> dict[str, Score]:
    """Label -> counts over scenes: said and meant, meant but not said, said but not meant."""
    counted = dict.fromkeys(RULES, Score())
    for case in cases:
        for scene in scenes(case, rate_hz):
            frame = recognise_behaviors(*scene.tables())
            said = set(frame.loc[frame["track"] == 1, "behavior"])
            for label in RULES:
                meant = label in case.must
                counted[label] += Score(
                    meant and label in said, meant and label not in said, not meant and label in said
                )
    return counted


def crossing(seed: int, rate_hz: float) -> Scene:
    """Six people of one look who go six ways through a square metre within eight seconds."""
    walkers = tuple(
        replace(
            walk(60.0 * i + 7 * seed, 0.7, middle=(0.5 * (i - 2.5), 8 + 0.45 * i), duration_s=8),
            stature_m=1.6 + 0.04 * i,
        )
        for i in range(6)
    )
    return Scene(walkers, 8, rate_hz, seed=seed, camera=Camera(tilt_deg=25))


def tracked(scene: Scene) -> list[Sample]:
    """The scene's own boxes against the same with the tracker's ids."""
    tracker = Tracker((scene.camera.width, scene.camera.height))
    samples = []
    for time_s in scene.times_s:
        numbers, boxes = scene.boxes(time_s)
        ids = tracker.update(time_s, boxes).astype(np.int64)
        corners = boxes.xyxy.astype(np.float64)
        samples.append(Sample(corners, np.array(numbers, np.int64), corners, ids, boxes.confidence.astype(np.float64)))
    return samples


def crossing_figures(rate_hz: float, seeds: int = 20) -> tuple[float, float, float]:
    """Mean and least IDF1 of the crossings, and identity switches in a hundred boxes."""
    runs = [tracked(crossing(seed, rate_hz)) for seed in range(seeds)]
    figures = [idf1(run, least_iou=0.99) or 0.0 for run in runs]
    boxes = sum(len(sample.truth) for run in runs for sample in run)
    return float(np.mean(figures)), min(figures), 100 * sum(identity_switches(run, 0.99) for run in runs) / boxes


def main() -> None:
    by_rate = {rate: rule_scores(rate) for rate in RATES}
    print("| rule | " + " | ".join(f"P / R at {rate:g} Hz" for rate in RATES) + " |")
    print("| --- |" + " --- |" * len(RATES))
    for label in RULES:
        shown = [by_rate[rate][label] for rate in RATES]
        print(f"| {label} | " + " | ".join(f"{_figure(s.precision)} / {_figure(s.recall)}" for s in shown) + " |")
    print("\n| six people cross | " + " | ".join(f"{rate:g} Hz" for rate in TRACKING_RATES) + " |")
    print("| --- |" + " --- |" * len(TRACKING_RATES))
    figures = [crossing_figures(rate) for rate in TRACKING_RATES]
    for name, part in (("IDF1, mean", 0), ("IDF1, least of 20", 1), ("switches in 100 boxes", 2)):
        print(f"| {name} | " + " | ".join(f"{figure[part]:.3f}" for figure in figures) + " |")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
