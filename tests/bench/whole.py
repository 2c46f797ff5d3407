"""The obvious pipeline against ours: `python -m tests.bench.whole [--quick] [--json FILE] [--picture FILE]`.

The obvious one reads every frame, asks a model for each frame and each person in it, writes a sentence for each frame,
and stores each observation with an INSERT of its own. Ours is that of the product's stages. Both have the same models
(`stand_ins.py`), and a PostgreSQL that runs for the while.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

from resources.settings import Settings
from tests.bench.footage import CORNER, HEIGHT, KINDS, PEOPLE, WIDTH
from tests.bench.measure import Cost, Ratio, measure, take_turns
from tests.builders.clips import loop

STAGES = ("decode", "detect", "age and gender", "orientation", "behaviors", "describe", "embed", "store")
_LEAST_CPU, _LEAST_CALLS = 4.0, 10.0
"""How many times the CPU, and the model calls, of ours the obvious pipeline is to take."""
_MOST_GROWTH = 1.1
"""How much more memory ours may take for a clip of six times the length."""
_HERE = "tests.bench.whole"


@dataclass
class Meter:
    """What each stage takes, without those within it; and how often models and database are asked."""

    cpu_s: Counter[str] = field(default_factory=Counter)
    wall_s: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    _under_way: list[str] = field(default_factory=list)
    _since: tuple[float, float] = (0.0, 0.0)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._account()
        self._under_way.append(name)
        try:
            yield
        finally:
            self._account()
            self._under_way.pop()

    def each(self, name: str, values: Iterable[Any]) -> Iterator[Any]:
        """The values; what it takes to get them is that stage's."""
        upcoming = iter(values)
        while True:
            with self.stage(name):
                try:
                    value = next(upcoming)
                except StopIteration:
                    return
            yield value

    def counted(self, stage: str, ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """`ask`, a model's method that takes a batch."""

        def asked(batch: Any) -> Any:
            self.calls[stage] += 1
            self.items[stage] += len(batch)
            return ask(batch)

        return asked

    def figures(self) -> dict[str, dict[str, float]]:
        """As JSON types."""
        return {name: dict(getattr(self, name)) for name in ("cpu_s", "wall_s", "calls", "items")}

    def _account(self) -> None:
        now = (time.process_time(), time.perf_counter())
        if self._under_way:
            self.cpu_s[self._under_way[-1]] += now[0] - self._since[0]
            self.wall_s[self._under_way[-1]] += now[1] - self._since[1]
        self._since = now


class Models:
    """The stand-ins, warm, each call counted; of footage with so many `people`."""

    def __init__(self, meter: Meter, people: int) -> None:
        import numpy as np

        from sentinel_assets import models
        from sentinel_assets.vision.protocols import BodyView, EventFacts
        from tests.bench import stand_ins
        from tests.builders.clips import frame_picture

        self.detector, self.attributes = stand_ins.Detector(people), stand_ins.AgeAndGender()
        self.orientation, self.describer = stand_ins.Orientation(), stand_ins.Describer()
        self.encoder = models.text_encoder("cpu")
        for stage, model, method in (
            ("detect", self.detector, "detect_people"),
            ("age and gender", self.attributes, "estimate_crops"),
            ("orientation", self.orientation, "estimate_bodies"),
            ("describe", self.describer, "describe"),
            ("embed", self.encoder, "encode_passages"),
        ):
            setattr(model, method, meter.counted(stage, getattr(model, method)))
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[:CORNER, :CORNER] = frame_picture(0, CORNER, CORNER)
        found = self.detector.detect_people([image])[0]
        self.attributes.estimate_crops(self.attributes.crop(_scene(image, found), [0]))
        self.orientation.estimate_bodies([BodyView(image, np.array([0, 0, 90, 190], np.float32))])
        self.describer.describe([EventFacts("walking-1-1", "walking", 0, 1, 0.9, 1, images=(image,))])
        self.encoder.encode_passages(["warm"])
        meter.calls.clear()
        meter.items.clear()


def _scene(image: Any, people: Any) -> Any:
    from sentinel_assets.vision.protocols import Scene

    return Scene(image, people.persons.xyxy, people.faces.boxes.xyxy)


@contextlib.contextmanager
def _statements(meter: Meter) -> Iterator[None]:
    """Counts what this process asks PostgreSQL."""
    import psycopg

    execute, copy = psycopg.Cursor.execute, psycopg.Cursor.copy

    def counted(method: Any) -> Any:
        def asked(*arguments: Any, **more: Any) -> Any:
            meter.calls["store"] += 1
            return method(*arguments, **more)

        return asked

    psycopg.Cursor.execute, psycopg.Cursor.copy = counted(execute), counted(copy)  # type: ignore[method-assign]
    try:
        yield
    finally:
        psycopg.Cursor.execute, psycopg.Cursor.copy = execute, copy  # type: ignore[method-assign]


def obvious(path: str, database_url: str) -> dict[str, Any]:
    """One thing after the other, as it comes to mind."""
    import cv2
    import psycopg

    from sentinel_assets.vision.protocols import BodyView, EventFacts

    meter = Meter()
    models = Models(meter, PEOPLE)
    cv2.setNumThreads(1)
    video = cv2.VideoCapture(path)
    rate = video.get(cv2.CAP_PROP_FPS)
    index = wanted = 0
    with psycopg.connect(database_url, autocommit=True) as database, _statements(meter):
        while True:
            with meter.stage("decode"):
                more, image = video.read()
                if not more:
                    break
                is_due = index / rate >= wanted
                index += 1
                if not is_due:
                    continue
                image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            with meter.stage("detect"):
                people = models.detector.detect_people([image])[0]
            with meter.stage("describe"):
                facts = EventFacts(f"frame-{wanted}", "unknown", wanted, wanted + 1, 1.0, 0, images=(image,))
                (sentence,) = models.describer.describe([facts])
            for person, box in enumerate(people.persons.xyxy):
                with meter.stage("age and gender"):
                    crops = models.attributes.crop(_scene(image, people), [person])
                    (attributes,) = models.attributes.estimate_crops(crops)
                with meter.stage("orientation"):
                    (oriented,) = models.orientation.estimate_bodies([BodyView(image, box)])
                with meter.stage("embed"):
                    (vector,) = models.encoder.encode_passages([sentence.text])
                with meter.stage("store"):
                    assert attributes is not None
                    database.execute(
                        "INSERT INTO observations (time_s, age, male, orientation, description, embedding) "
                        "VALUES (%s, %s, %s, %s, %s, %s::vector)",
                        [
                            wanted,
                            attributes.age,
                            attributes.male,
                            oriented.direction.degrees,
                            sentence.text,
                            json.dumps(vector.tolist()),
                        ],
                    )
            wanted += 1
    return meter.figures()


def ours(path: str, database_url: str, people: int = PEOPLE) -> dict[str, Any]:
    """The stages of the product as they are: decoding runs beside the models, and is counted with detection."""
    return _ours(Path(path), database_url, people, each=lambda _, values: values)


def ours_in_turn(path: str, database_url: str, people: int = PEOPLE) -> dict[str, Any]:
    """The same with nothing beside anything else, so that each stage can be told what it takes."""
    with (
        patch("sentinel_assets.vision.detections.batches_ahead", _batches),
        patch("sentinel_assets.vision.poses.batches_ahead", _batches),
    ):
        return _ours(Path(path), database_url, people)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    upcoming = iter(items)
    while batch := list(islice(upcoming, size)):
        yield batch


def _ours(
    clip: Path,
    database_url: str,
    people: int,
    each: Callable[[str, Iterable[Any]], Iterable[Any]] | None = None,
) -> dict[str, Any]:
    from resources.warehouse import Warehouse
    from sentinel_assets.vision.behaviors import BehaviorParameters, recognise_behaviors
    from sentinel_assets.vision.demographics import estimate_demographics
    from sentinel_assets.vision.descriptions import describe_events
    from sentinel_assets.vision.detections import detect_people
    from sentinel_assets.vision.embeddings import embed_descriptions
    from sentinel_assets.vision.events import assemble_events
    from sentinel_assets.vision.frames import probe, sample_frames
    from sentinel_assets.vision.held_frames import HELD
    from sentinel_assets.vision.poses import estimate_poses

    meter = Meter()
    models = Models(meter, people)
    with HELD.known_as(clip, "its content"):  # as `Footage.local_copy` has it
        with meter.stage("detect"):
            frames = (each or meter.each)("decode", sample_frames(clip, 1.0))
            found = detect_people(frames, probe(clip), detector=models.detector, face_detector=None)
        with meter.stage("age and gender"):
            persons = estimate_demographics(clip, found, attribute_model=models.attributes)
        with meter.stage("orientation"):
            poses = estimate_poses(clip, found, pose_models=[models.orientation])
        with meter.stage("behaviors"):
            acts = recognise_behaviors(found, poses, parameters=BehaviorParameters())
        with meter.stage("describe"):
            sentences = describe_events(acts, persons, poses, describer=models.describer, path=clip, detections=found)
    with meter.stage("embed"):
        vectors = embed_descriptions(sentences, encoder=models.encoder)
    with meter.stage("store"):
        rows = assemble_events(acts, persons, poses, sentences, vectors)
        with Warehouse(database_url) as warehouse:
            video = warehouse.register_video("file:///clip", name="clip")
            warehouse.begin_analysis(video.partition_key, "bench")
            with _statements(meter):
                warehouse.publish_events(
                    video.partition_key, rows, recipes={"events": "e", "embeddings": "m"}, analysis_id="bench"
                )
    meter.items["store"] = len(rows)
    return meter.figures()


@dataclass(frozen=True)
class Row:
    """One stage, or all of them: ratios of the obvious pipeline to ours; None where ours or the other has no such."""

    stage: str
    cpu: Ratio | None
    wall: Ratio | None
    calls: tuple[int, int]
    share: tuple[float, float]
    """Of the obvious pipeline's CPU seconds, medians."""


def rows_of(theirs: list[Cost], mine: list[Cost]) -> list[Row]:
    whole = [sum(cost.result["cpu_s"].values()) for cost in theirs]

    def row(stage: str, names: tuple[str, ...]) -> Row:
        spent = {
            kind: [[sum(cost.result[kind].get(n, 0.0) for n in names) for cost in side] for side in (theirs, mine)]
            for kind in ("cpu_s", "wall_s")
        }
        both = all(value > 0 for side in spent["cpu_s"] for value in side)
        shares = [
            sorted(value / all_of_it for value, all_of_it in zip(side, whole, strict=True)) for side in spent["cpu_s"]
        ]
        return Row(
            stage,
            Ratio.of(*spent["cpu_s"]) if both else None,
            Ratio.of(*spent["wall_s"]) if both else None,
            tuple(sum(side[0].result["calls"].get(n, 0) for n in names) for side in (theirs, mine)),  # type: ignore[arg-type]
            (shares[0][len(whole) // 2], shares[1][len(whole) // 2]),
        )

    return [row(stage, (stage,)) for stage in STAGES] + [row("all", STAGES)]


def model_calls(row: Row, stored: Row) -> float:
    """How many times ours the obvious pipeline asks a model; what is asked of the database is none."""
    theirs, mine = (row.calls[side] - stored.calls[side] for side in (0, 1))
    return theirs / mine


def _wall_s(cost: Cost) -> float:
    return float(sum(cost.result["wall_s"].values()))


def memory_growth(clip: Path, database_url: str, once: list[Cost]) -> float:
    """Memory that ours takes for six times the clip over that for the clip itself."""
    longer = clip.with_name(f"six-times-{clip.name}")
    if not longer.exists():
        loop(clip, longer, 6)
    return measure(f"{_HERE}:ours", str(longer), database_url).grown_mb / statistics.median(c.grown_mb for c in once)


def markdown(rows: list[Row], memory: Ratio) -> str:
    heads = [
        "stage",
        "CPU: obvious / ours",
        "wall",
        "asked: obvious",
        "ours",
        "share of the obvious CPU: obvious",
        "ours",
    ]
    body = [
        f"| {row.stage} | {row.cpu or '-'} | {row.wall or '-'} | {row.calls[0] or '-'} | {row.calls[1] or '-'} "
        f"| {row.share[0]:.1%} | {row.share[1]:.1%} |"
        for row in rows
    ]
    last = f"Peak memory above the imports: {memory} times ours"
    return "\n".join([f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|", *body, "", last])


def picture(rows: list[Row], path: Path) -> None:
    """Two bars, the obvious pipeline's CPU and ours, stage by stage."""
    from sentinel_assets.previews.canvas import figure, plain, rendered, title
    from sentinel_assets.previews.palette import BLUE, GREEN, INK, NEUTRAL, ORANGE, PURPLE, SKY, VERMILION, YELLOW

    colours = dict(zip(STAGES, (NEUTRAL, BLUE, SKY, GREEN, YELLOW, VERMILION, ORANGE, PURPLE), strict=True))
    made, axes = figure(300)
    plain(axes)
    title(axes, "CPU for one clip", "the obvious pipeline's is 100 %")
    *stages, whole = rows
    for side, name in enumerate(("obvious", "ours")):
        left = 0.0
        for row in stages:
            share = 100 * row.share[side]
            axes.barh(name, share, left=left, color=colours[row.stage], label=row.stage if side == 0 else None)
            left += share
        axes.annotate(
            f"{100 * whole.share[side]:.0f} %", (left, name), (6, 0), textcoords="offset points", va="center", color=INK
        )
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False, fontsize=9.5)
    rendered(made).save(path)


@contextlib.contextmanager
def database() -> Iterator[str]:
    import psycopg

    from infra.local.postgres import LocalPostgres
    from resources.warehouse import Warehouse

    with tempfile.TemporaryDirectory() as home, LocalPostgres(Path(home)).session() as server:
        server.create_database("bench")
        url = server.url("bench")
        with Warehouse(url) as warehouse:
            warehouse.migrate()
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(
                "CREATE TABLE observations (id bigserial PRIMARY KEY, time_s float, age float, male float, "
                "orientation float, description text, embedding vector(384))"
            )
        yield url


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {_HERE}", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="12 s, once: that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw them there")
    options = parser.parse_args(arguments)
    seconds, rounds = (12, 1) if options.quick else (50, options.rounds)
    clip = str(KINDS[0].make(Settings.from_env().home / "bench", seconds))
    with database() as url:
        ways = (f"{_HERE}:{way}" for way in ("obvious", "ours_in_turn", "ours"))
        theirs, in_turn, mine = take_turns(rounds, *((way, (clip, url)) for way in ways))
        growth = None if options.quick else memory_growth(Path(clip), url, mine)
    rows = rows_of(theirs, in_turn)
    memory = Ratio.of([cost.grown_mb for cost in theirs], [cost.grown_mb for cost in mine])
    beside = Ratio.of([_wall_s(cost) for cost in in_turn], [_wall_s(cost) for cost in mine])
    calls = model_calls(rows[-1], rows[-2])
    print(markdown(rows, memory))
    print(f"One after another ours takes {beside} times the wall time that it takes with decoding beside the models")
    if growth is not None:
        print(f"Memory of ours for six times the length: {growth:.2f} times (goal: at most {_MOST_GROWTH})")
    print(f"Model calls: {calls:.0f} times ours (goal: {_LEAST_CALLS:.0f}); the goal for CPU is {_LEAST_CPU:.0f}")
    if options.json:
        figures = {
            "stages": [asdict(row) for row in rows],
            "memory": asdict(memory),
            "one_after_another": asdict(beside),
            "model_calls": calls,
            "memory_growth": growth,
        }
        options.json.write_text(json.dumps(figures, indent=1))
    if options.picture:
        picture(rows, options.picture)
    whole = rows[-1].cpu
    assert whole is not None
    reached = calls >= _LEAST_CALLS and whole.median >= _LEAST_CPU and growth is not None and growth <= _MOST_GROWTH
    return 0 if options.quick or reached else 1


if __name__ == "__main__":
    sys.exit(main())
