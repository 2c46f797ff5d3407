"""`sentinel evaluate`: the models and rules of now on labelled clips, outside of the asset graph and its records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from resources.cameras import cameras
from resources.settings import Settings
from sentinel_assets import models
from sentinel_assets.evaluation import report
from sentinel_assets.evaluation.dataset import Dataset
from sentinel_assets.evaluation.evaluate import Analysis, Evaluation, evaluate
from sentinel_assets.evaluation.gate import broken, read_gate
from sentinel_assets.looking import people_in
from sentinel_assets.recipes import recipe
from sentinel_assets.vision.behaviors import BehaviorParameters, recognise_behaviors
from sentinel_assets.vision.frames import probe
from sentinel_assets.vision.poses import PoseParameters, estimate_poses

_STAGES = ("detections", "poses", "behaviors")


def analyse_clip(path: Path) -> Analysis:
    """The stages that labels say something of, by the profile, the sample rate and the cameras of the environment."""
    clip = probe(path)
    detections = people_in(path, clip)
    poses = estimate_poses(path, detections, pose_models=models.pose_models(), parameters=PoseParameters())
    camera = cameras().of_video(path.name, str(path))
    behaviors = recognise_behaviors(
        detections,
        poses,
        parameters=BehaviorParameters(),
        camera=camera,
        recorded_at=camera.recorded_at(path.name, str(path)) if camera else None,
    )
    return Analysis(detections, poses, behaviors, clip.average_rate)


def run(
    place: Path,
    *,
    folder: Path | None,
    gate: str | None,
    tolerance_s: float,
    with_verdicts: bool,
    as_json: bool,
    out: Console,
    err: Console,
) -> int:
    """Evaluate, write the report, print its figures. Returns the exit code: 1 where the gate does not hold."""
    bounds = read_gate(gate) if gate else []
    dataset = Dataset.read(place)
    verdicts = _verdicts() if with_verdicts else {}

    def tell(clip: str) -> None:
        if err.is_terminal:
            err.print(f"[dim]{escape(clip)}[/dim]")

    evaluation = evaluate(
        dataset,
        analyse_clip,
        tolerance_s=tolerance_s,
        recipes={name: recipe(name).digest for name in _STAGES},
        on_clip=tell,
    )
    failed = broken(bounds, evaluation.figures)
    if folder is not None:
        show_faces = Settings.from_env().show_faces
        written = report.write(evaluation, folder, verdicts=verdicts, broken=failed, show_faces=show_faces)
    if as_json:
        content = report.as_json(evaluation, verdicts) | {"gate": failed}
        out.file.write(json.dumps(content, indent=2, sort_keys=True) + "\n")
    else:
        _print(evaluation, verdicts, out)
        if folder is not None:
            out.print(f"Report: {escape(str(written))}", soft_wrap=True, highlight=False)
    for line in failed:
        err.print(f"[red]gate:[/red] {escape(line)}", soft_wrap=True, highlight=False)
    return 1 if failed else 0


def _print(evaluation: Evaluation, verdicts: Mapping[str, Mapping[str, int]], out: Console) -> None:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("Figure")
    shown.add_column("Value", justify="right")
    for name, value in evaluation.figures.items():
        shown.add_row(name, "-" if value is None else f"{value:.3f}")
    out.print(shown)
    for label, confirmed, rejected, precision in report.verdict_rows(verdicts):
        out.print(f"reviewed {label}: {confirmed} confirmed, {rejected} rejected, precision {precision}")


def _verdicts() -> Mapping[str, Mapping[str, int]]:
    from resources.warehouse import connect

    with connect(Settings.from_env()) as warehouse:
        return warehouse.verdict_counts()
