"""How good the analysis is on real clips, as Markdown: `python -m tests.bench.quality FOLDER` (see docs/quality.md).

FOLDER holds the clips of `WATCHED`, whose labels were written down by watching them, and `gmdcsa24/` with its
`labels.csv` (clip, start_s, end_s, label).
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sentinel_assets import models
from sentinel_assets.vision.behaviors import BehaviorParameters, recognise_behaviors
from sentinel_assets.vision.detections import DetectionParameters, detect_people
from sentinel_assets.vision.frames import probe, sample_frames
from sentinel_assets.vision.poses import PoseParameters, estimate_poses
from sentinel_assets.vision.tables import Sampling

POSTURES = ("walking", "standing", "sitting", "collapse")


@dataclass(frozen=True)
class Person:
    """Somebody whom a person saw in a clip: the first and last whole second of sight, and what they do when."""

    first_s: float
    last_s: float
    does: tuple[tuple[str, float, float], ...]


WATCHED: Mapping[str, tuple[Person, ...]] = {
    # Six people step up to a table one after the other, stand there, and leave to the right.
    "one-by-one-person-detection.mp4": (
        Person(7, 19, (("standing", 9, 18),)),
        Person(23, 44, (("standing", 25, 43),)),
        Person(51, 69, (("standing", 53, 68),)),
        Person(75, 86, (("standing", 77, 84),)),
        Person(93, 119, (("standing", 95, 117),)),
        Person(124, 135, (("standing", 126, 134),)),
    ),
    # A man with a hat reaches over a table, a woman looks at a shelf and reaches up, a second woman walks in.
    "store-aisle-detection.gif": (
        Person(0, 4, (("standing", 0, 4),)),
        Person(0, 4, (("standing", 1, 4),)),
        Person(2, 4, (("walking", 2, 3),)),
    ),
}


@dataclass(frozen=True)
class Analysis:
    detections: pd.DataFrame
    poses: pd.DataFrame
    behaviors: pd.DataFrame


def analyse(path: Path, rate_hz: float = 1.0) -> Analysis:
    detections = detect_people(
        sample_frames(path, rate_hz),
        probe(path),
        detector=models.detector(),
        face_detector=models.face_detector(),
        parameters=DetectionParameters(),
    )
    poses = estimate_poses(path, detections, pose_models=models.pose_models(), parameters=PoseParameters())
    return Analysis(detections, poses, recognise_behaviors(detections, poses, parameters=BehaviorParameters()))


def label_at(behaviors: pd.DataFrame, time_s: float, track: int | None = None) -> set[str]:
    now = behaviors[(behaviors["start_s"] <= time_s + 1e-6) & (behaviors["end_s"] >= time_s - 1e-6)]
    return set(now["behavior"] if track is None else now[now["track"] == track]["behavior"])


def read_labels(path: Path) -> dict[str, list[tuple[float, float, str]]]:
    labels = defaultdict(list)
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            labels[row["clip"]].append((float(row["start_s"]), float(row["end_s"]), row["label"]))
    return dict(labels)


def acted_clips(folder: Path) -> Iterator[str]:
    """Per clip: what was labelled, what was found second by second, whether a collapse was found."""
    right, total = 0, 0
    falls, found, false = 0, 0, 0
    yield "| clip | labelled | found, second by second | collapse |"
    yield "| --- | --- | --- | --- |"
    for clip, spans in read_labels(folder / "labels.csv").items():
        result = analyse(folder / clip)
        times = Sampling.of(result.detections).times_s
        seen = []
        for time_s in times:
            expected = next((label for start, end, label in spans if start <= time_s <= end), None)
            labels = label_at(result.behaviors, time_s)
            posture = next((p for p in reversed(POSTURES) if p in labels), "unknown")
            seen.append(posture)
            if expected:
                total += 1
                right += expected in labels
        fell, collapsed = any(s[2] == "collapse" for s in spans), "collapse" in set(result.behaviors["behavior"])
        falls, found, false = falls + fell, found + (fell and collapsed), false + (collapsed and not fell)
        written = ", ".join(f"{label} {start:g}-{end:g}" for start, end, label in spans)
        yield f"| {clip} | {written} | {' '.join(seen)} | {'found' if collapsed else 'none'} |"
    yield ""
    yield f"Collapse found in {found} of {falls} falls, and in {false} clips without one. "
    yield f"Label right in {right} of {total} labelled samples ({right / max(total, 1):.0%})."


def watched_clips(folder: Path) -> Iterator[str]:
    """Per clip: how many people, from when to when, and how much of what they did was said."""
    for clip, people in WATCHED.items():
        if not (folder / clip).exists():
            continue
        result = analyse(folder / clip)
        persons = result.detections[result.detections["kind"] == "person"]
        spans = persons.groupby("track")["time_s"].agg(["min", "max", "size"])
        yield f"### {clip}\n"
        yield f"{len(people)} people watched, {len(spans)} tracks found.\n"
        yield "| track | seen (s) | samples | what was found |"
        yield "| --- | --- | --- | --- |"
        for track, span in spans.iterrows():
            own = result.behaviors[result.behaviors["track"] == track]
            said = ", ".join(
                f"{b.behavior} {b.start_s:.0f}-{b.end_s:.0f} ({b.confidence:.2f})" for b in own.itertuples()
            )
            yield f"| {track} | {span['min']:.1f}-{span['max']:.1f} | {span['size']:.0f} | {said} |"
        yield ""
        yield from _coverage(people, persons, result.behaviors)
        yield ""


def _coverage(people: Sequence[Person], persons: pd.DataFrame, behaviors: pd.DataFrame) -> Iterator[str]:
    yield "| a person watching says | samples with so many people | samples with that label |"
    yield "| --- | --- | --- |"
    for number, person in enumerate(people, 1):
        times = sorted(t for t in persons["time_s"].unique() if person.first_s <= t <= person.last_s)
        seen = sum(1 for t in times if (persons["time_s"] == t).sum() >= 1)
        for label, start, end in person.does:
            within = [t for t in times if start <= t <= end]
            said = sum(label in label_at(behaviors, t) for t in within)
            expected = f"person {number}: {person.first_s:g}-{person.last_s:g} s, {label} {start:g}-{end:g}"
            yield f"| {expected} | {seen} of {int(person.last_s - person.first_s) + 1} | {said} of {len(within)} |"


def main() -> None:
    folder = Path(sys.argv[1])
    for line in ("## Acted falls and daily activities (GMDCSA24)\n", *acted_clips(folder / "gmdcsa24")):
        print(line)
    for line in ("\n## Clips watched by a person\n", *watched_clips(folder)):
        print(line)


if __name__ == "__main__":
    main()
