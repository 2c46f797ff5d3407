"""How a video's cost grows with its length and with the people in it: `python -m tests.bench.sizes [--quick] [...]`.

The product's stages with the stand-ins of `whole.py`, on a clip that is played once, twice, four and six times, and on
clips of the same length with one, three, six and twelve people. CPU seconds, each measured in a process of its own. A
growth of 1 is linear: the exponent between the two largest sizes, or where the larger one asks more of a stage's model,
between what is asked: longer or fuller clips have their own number of tracks and events.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resources.settings import Settings
from tests.bench.footage import KINDS, PEOPLE
from tests.bench.measure import measure
from tests.bench.whole import STAGES, database
from tests.builders.clips import loop

SECONDS, TIMES, CROWDS = 50, (1, 2, 4, 6), (1, 3, 6, 12)
_MOST_GROWTH = 1.1
_SMALL = 0.05
"""A stage that takes less than this share of the largest size is not asked how it grows: that would be noise."""


@dataclass(frozen=True)
class Point:
    """At one size: CPU seconds of each stage, what it was asked for, and by how much the memory grew."""

    size: int
    cpu_s: dict[str, float]
    items: dict[str, int]
    grown_mb: float

    @property
    def all_s(self) -> float:
        return sum(self.cpu_s.values())


def point(size: int, clip: Path, url: str, people: int) -> Point:
    print(f"{clip.name} ...", file=sys.stderr)
    cost = measure("tests.bench.whole:ours_in_turn", str(clip), url, people)
    return Point(size, dict(cost.result["cpu_s"]), dict(cost.result["items"]), cost.grown_mb)


def by_length(folder: Path, url: str, seconds: int, times: Sequence[int]) -> list[Point]:
    once = KINDS[0].make(folder, seconds)
    points = []
    for count in times:
        clip = once if count == 1 else once.with_name(f"{count}-times-{once.name}")
        if not clip.exists():
            loop(once, clip, count)
        points.append(point(seconds * count, clip, url, PEOPLE))
    return points


def by_people(folder: Path, url: str, seconds: int, crowds: Sequence[int]) -> list[Point]:
    return [point(count, KINDS[0].make(folder, seconds, count), url, count) for count in crowds]


def growth(points: Sequence[Point], stage: str) -> float | None:
    """The exponent of a stage or of "all"; None for next to nothing."""
    *_, one, other = points
    before, after = (_cpu_s(p, stage) for p in (one, other))
    if before <= 0 or after < _SMALL * other.all_s:
        return None
    asked = other.items.get(stage, 0) / max(one.items.get(stage, 0), 1)
    return math.log(after / before) / math.log(asked if asked > 1 else other.size / one.size)


def _cpu_s(one: Point, stage: str) -> float:
    return one.all_s if stage == "all" else one.cpu_s.get(stage, 0.0)


def markdown(title: str, unit: str, points: Sequence[Point]) -> str:
    """Each stage's CPU as times that of everything at the smallest size, and how often its model was asked."""
    first = points[0].all_s
    heads = [title, *(f"{p.size} {unit}" for p in points), "growth"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for stage in (*STAGES, "all"):
        exponent = growth(points, stage)
        asked = [f" ({p.items[stage]})" if stage in p.items else "" for p in points]
        cells = [f"{_cpu_s(p, stage) / first:.2f}{count}" for p, count in zip(points, asked, strict=True)]
        lines.append(f"| {stage} | {' | '.join(cells)} | {'-' if exponent is None else f'{exponent:.2f}'} |")
    memory = [f"{p.grown_mb / points[0].grown_mb:.2f}" for p in points]
    lines.append(f"| memory | {' | '.join(memory)} | |")
    return "\n".join(lines)


def picture(curves: Mapping[str, Sequence[Point]], path: Path) -> None:
    """CPU, stacked by stage, against the size."""
    from sentinel_assets.previews.canvas import figure, plain, rendered, title
    from sentinel_assets.previews.palette import BLUE, GREEN, INK, NEUTRAL, ORANGE, PURPLE, SKY, VERMILION, YELLOW

    colours = (NEUTRAL, BLUE, SKY, GREEN, YELLOW, VERMILION, ORANGE, PURPLE)
    made, _ = figure(380)
    made.clear()
    for place, (name, points) in enumerate(curves.items()):
        axes = made.add_subplot(1, len(curves), place + 1)
        plain(axes)
        title(axes, f"CPU by {name}", "dotted: linear")
        sizes, first = [p.size for p in points], points[0].all_s
        shares = [[p.cpu_s.get(stage, 0.0) / first for p in points] for stage in STAGES]
        axes.stackplot(sizes, shares, colors=colours, labels=STAGES)
        axes.plot(sizes, [points[-1].all_s / first * size / sizes[-1] for size in sizes], linestyle=":", color=INK)
        axes.set_xticks(sizes)
        axes.set_ylim(0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=9.5)
    rendered(made).save(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sizes", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short, and never too slow: that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw them there")
    options = parser.parse_args(arguments)
    folder = Settings.from_env().home / "bench"
    seconds, times, crowds = (12, (1, 2), (1, 3)) if options.quick else (SECONDS, TIMES, CROWDS)
    with database() as url:
        curves = {
            "length, s": by_length(folder, url, seconds, times),
            "people": by_people(folder, url, seconds, crowds),
        }
    for (name, points), unit in zip(curves.items(), ("s", "people"), strict=True):
        print(markdown(f"CPU by {name}", unit, points), end="\n\n")
    if options.json:
        figures: dict[str, Any] = {name: [asdict(p) for p in points] for name, points in curves.items()}
        options.json.write_text(json.dumps(figures, indent=1))
    if options.picture:
        picture(curves, options.picture)
    exponents = [growth(points, stage) for points in curves.values() for stage in (*STAGES, "all")]
    return 0 if options.quick or all(e is None or e <= _MOST_GROWTH for e in exponents) else 1


if __name__ == "__main__":
    sys.exit(main())
