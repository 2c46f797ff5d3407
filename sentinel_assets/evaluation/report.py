"""An evaluation as a folder: report.md for people, report.json for programs and gates, a picture of every miss."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sentinel_assets.evaluation.evaluate import ClipResult, Evaluation
from sentinel_assets.evaluation.seconds import POSTURES, confusion
from sentinel_assets.previews import moments
from sentinel_assets.previews.markdown import escape, table
from sentinel_assets.vision.frames import frames_at
from sentinel_assets.vision.tables import Sampling

VERSION = 1
"""Of report.json's form."""


@dataclass(frozen=True)
class Miss:
    """Something that the analysis got wrong, and the moment that shows it."""

    clip: str
    kind: str
    """missed (labelled, not found), false (found, not labelled) or posture (another one said)."""
    what: str
    moment_s: float
    picture: str = ""


def misses(result: ClipResult) -> list[Miss]:
    """Of one clip, by time; seconds of one wrong posture in a row are one miss."""
    name = result.clip.name
    found = [
        Miss(name, "missed", f"{s.label} {s.start_s:g}-{s.end_s:g} s was not found", (s.start_s + s.end_s) / 2)
        for s in result.matching.missed
    ]
    found += [
        Miss(name, "false", f"{e.label} {e.start_s:.1f}-{e.end_s:.1f} s was not labelled", e.peak_s)
        for e in result.matching.false
    ]
    run: list[float] = []
    previous: tuple[str, str] | None = None
    for second, labelled, said in (*result.seconds, (-1.0, "", "")):
        if (labelled, said) == previous and run and second - run[-1] == 1.0:
            run.append(second)
            continue
        if previous is not None and previous[0] != previous[1]:
            what = f"{previous[0]} at {run[0]:g}-{run[-1]:g} s was taken for {previous[1]}"
            found.append(Miss(name, "posture", what, run[len(run) // 2]))
        run, previous = [second], (labelled, said)
    return sorted(found, key=lambda miss: (miss.moment_s, miss.kind))


def as_json(evaluation: Evaluation, verdicts: Mapping[str, Mapping[str, int]] | None = None) -> dict[str, Any]:
    return {
        "version": VERSION,
        "dataset": evaluation.dataset,
        "tolerance_s": evaluation.tolerance_s,
        "clips": [
            {
                "clip": result.clip.name,
                "duration_s": result.duration_s,
                "seconds": [list(entry) for entry in result.seconds],
                "misses": [asdict(miss) for miss in misses(result)],
            }
            for result in evaluation.clips
        ],
        "figures": evaluation.figures,
        "events": {label: asdict(counted) for label, counted in evaluation.scores.items()},
        "confusion": confusion(evaluation.pairs),
        "average_rate_hz": evaluation.average_rate_hz,
        "recipes": dict(evaluation.recipes),
        "verdicts": dict(verdicts or {}),
    }


def write(
    evaluation: Evaluation,
    folder: Path,
    *,
    verdicts: Mapping[str, Mapping[str, int]] | None = None,
    broken: Sequence[str] = (),
    show_faces: bool = False,
) -> Path:
    """Write the report into the folder and give the path of report.md."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = [miss for result in evaluation.clips for miss in _pictured(result, folder, show_faces=show_faces)]
    content = as_json(evaluation, verdicts) | {"gate": list(broken)}
    (folder / "report.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    path = folder / "report.md"
    path.write_text("\n".join(_markdown(evaluation, shown, verdicts or {}, broken)) + "\n", encoding="utf-8")
    return path


def _pictured(result: ClipResult, folder: Path, *, show_faces: bool) -> Iterator[Miss]:
    detections = result.analysis.detections
    found = misses(result)
    times = {miss: moments.sampled_near(detections, miss.moment_s) for miss in found}
    wanted = sorted({time_s for time_s in times.values() if time_s is not None})
    frames = {frame.time_s: frame for frame in frames_at(result.clip.path, wanted)}
    for number, miss in enumerate(found, 1):
        time_s = times[miss]
        if time_s is None:
            yield miss
            continue
        frame = frames[min(frames, key=lambda known: abs(known - time_s))]
        picture = moments.draw(frame, detections, result.analysis.poses, miss.what, show_faces=show_faces)
        name = f"{result.clip.path.stem}-{number}.webp"
        picture.save(folder / name, "WEBP", quality=70)
        yield Miss(miss.clip, miss.kind, miss.what, miss.moment_s, name)


def _markdown(
    evaluation: Evaluation,
    shown: Sequence[Miss],
    verdicts: Mapping[str, Mapping[str, int]],
    broken: Sequence[str],
) -> Iterator[str]:
    minutes = evaluation.hours * 60
    yield f"# Quality on {escape(evaluation.dataset)}\n"
    yield (
        f"{len(evaluation.clips)} clips, {minutes:.1f} minutes, {evaluation.average_rate_hz or 0:.2f} frames looked "
        f"at in a second. Events are matched with a tolerance of {evaluation.tolerance_s:g} s.\n"
    )
    if broken:
        yield "**The gate is not passed:** " + "; ".join(broken) + ".\n"
    yield "## Events\n"
    yield table(
        ["event", "labelled", "found", "missed", "false", "precision", "recall", "F1"],
        [
            [
                label,
                str(s.hits + s.missed),
                str(s.hits),
                str(s.missed),
                str(s.false),
                *map(_figure, (s.precision, s.recall, s.f1)),
            ]
            for label, s in evaluation.scores.items()
        ],
    )
    figures = evaluation.figures
    hourly = _figure(figures["false_alarms_per_hour"])
    yield f"\nFalse alarms per camera-hour: {hourly} ({evaluation.false_alarms} in all)."
    if evaluation.pairs:
        right = sum(a == b for a, b in evaluation.pairs)
        yield "\n## Postures, second by second\n"
        share = _figure(figures["postures.accuracy"])
        yield f"Right in {right} of {len(evaluation.pairs)} labelled seconds ({share}).\n"
        columns = (*POSTURES, "unknown")
        rows = confusion(evaluation.pairs)
        header = ["labelled \\ said", *columns]
        yield table(header, [[name, *(str(row[column]) for column in columns)] for name, row in rows.items()])
    if "boxes.ap50" in figures:
        yield "\n## Boxes and identities\n"
        yield (
            f"AP at IoU 0.5: {_figure(figures['boxes.ap50'])}; IDF1, mean over clips: "
            f"{_figure(figures['boxes.idf1'])}; identity switches: {figures['boxes.identity_switches'] or 0:.0f}."
        )
    if verdicts:
        yield "\n## Reviewers' verdicts\n"
        yield table(["event", "confirmed", "rejected", "precision of the reviewed"], verdict_rows(verdicts))
    yield "\n## Misses\n"
    if not shown:
        yield "None."
    for miss in shown:
        yield f"- **{escape(miss.clip)}**, {miss.kind}: {escape(miss.what)}"
        if miss.picture:
            yield f"\n  ![{escape(miss.what)}]({miss.picture})\n"
    yield "\n## Clips\n"
    yield table(["clip", "seconds", "samples", "misses"], [_clip_row(result) for result in evaluation.clips])


def verdict_rows(verdicts: Mapping[str, Mapping[str, int]]) -> list[list[str]]:
    rows = []
    for label, counted in sorted(verdicts.items()):
        confirmed, rejected = counted.get("confirmed", 0), counted.get("rejected", 0)
        total = confirmed + rejected
        rows.append([label, str(confirmed), str(rejected), _figure(confirmed / total if total else None)])
    return rows


def _clip_row(result: ClipResult) -> list[str]:
    samples = len(Sampling.of(result.analysis.detections).times_s)
    return [escape(result.clip.name), f"{result.duration_s:.1f}", str(samples), str(len(misses(result)))]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
