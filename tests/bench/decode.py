"""Frames at one a second: reading every frame against ours, as Markdown (see docs/performance.md).

`python -m tests.bench.decode [--quick] [--json FILE]`. The clips are made once, under SENTINEL_HOME.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resources.settings import Settings
from sentinel_assets.vision.frames import sample_frames
from tests.bench.footage import KINDS, Kind, number_in
from tests.bench.measure import Cost, Ratio, measure, take_turns
from tests.builders.clips import loop

_SIDE = 640  # px, what the detectors look at
_BOUND = 1.25
"""How much more than decoding the same packets ours may cost."""
_GROWTH = 1.1
"""How much more memory ours may take for a clip of six times the length."""
_TICK_S = 0.0011  # containers round to a thousandth of a second


def read_every_frame(path: str) -> list[tuple[float, int]]:
    """The obvious way: OpenCV reads all frames, every RATE-th is taken, its time is its index over the rate."""
    import cv2

    cv2.setNumThreads(1)
    video = cv2.VideoCapture(path)
    rate = video.get(cv2.CAP_PROP_FPS)
    taken, index, wanted = [], 0, 0
    while True:
        more, image = video.read()
        if not more:
            return taken
        if index / rate >= wanted:
            small = cv2.resize(image, (_SIDE, _SIDE * image.shape[0] // image.shape[1]))
            taken.append((index / rate, number_in(small)))
            wanted += 1
        index += 1


def sample(path: str) -> list[tuple[float, int]]:
    """Ours: what the detections stage does before it looks."""
    return [(frame.time_s, number_in(frame.resized(_SIDE))) for frame in sample_frames(Path(path), 1.0)]


def decode_only(path: str) -> int:
    """The bound: the same packets decoded, no picture converted."""
    return sum(1 for _ in sample_frames(Path(path), 1.0))


@dataclass(frozen=True)
class Row:
    """One kind of clip. Ratios of CPU seconds; `wrong` of `samples` are not the frame that the rule asks for."""

    kind: str
    goal: float | None
    cpu: Ratio
    wall: Ratio
    over_bound: Ratio
    samples: int
    wrong: int
    obvious_wrong: int
    obvious_error_s: float

    @property
    def holds(self) -> bool:
        """Whether times are exact, and the goals reached."""
        fast = self.goal is None or self.cpu.median >= self.goal
        return self.wrong == 0 and fast and self.over_bound.median <= _BOUND


def compare(kind: Kind, folder: Path, seconds: int, rounds: int) -> Row:
    here, arguments = "tests.bench.decode", (str(kind.make(folder, seconds)),)
    obvious, ours, bound = take_turns(
        rounds,
        (f"{here}:read_every_frame", arguments),
        (f"{here}:sample", arguments),
        (f"{here}:decode_only", arguments),
    )
    times_s = kind.times_s(seconds)
    due = _due(times_s)
    return Row(
        kind=kind.name,
        goal=kind.goal,
        cpu=_cpu_ratio(obvious, ours),
        wall=Ratio.of([c.wall_s for c in obvious], [c.wall_s for c in ours]),
        over_bound=_cpu_ratio(ours, bound),
        samples=len(due),
        wrong=_wrong(ours[0], due),
        obvious_wrong=_wrong(obvious[0], due),
        obvious_error_s=max(abs(time_s - times_s[number]) for time_s, number in obvious[0].result),
    )


def _due(times_s: list[float]) -> list[tuple[float, int]]:
    """Time and number of each frame that is the first at or after a whole second."""
    due: list[tuple[float, int]] = []
    for number, time_s in enumerate(times_s):
        if not due or math.floor(time_s) > math.floor(due[-1][0]):
            due.append((time_s, number))
    return due


def _wrong(cost: Cost, due: list[tuple[float, int]]) -> int:
    """How many samples are missing, at another time, or not due at all."""
    given = {number: time_s for time_s, number in cost.result}
    missing = sum(1 for time_s, number in due if abs(given.get(number, math.inf) - time_s) > _TICK_S)
    return missing + len(given.keys() - {number for _, number in due})


def _cpu_ratio(over: list[Cost], under: list[Cost]) -> Ratio:
    return Ratio.of([c.cpu_s for c in over], [c.cpu_s for c in under])


def memory_growth(path: Path) -> float:
    """Memory that ours takes for six times a clip over that for the clip itself."""
    longer = path.with_name(f"six-times-{path.name}")
    if not longer.exists():
        loop(path, longer, 6)
    once, six = (measure("tests.bench.decode:sample_without_reading", str(p)) for p in (path, longer))
    return six.grown_mb / once.grown_mb


def sample_without_reading(path: str) -> int:
    """Ours, where the numbers in the frames repeat."""
    return sum(1 for frame in sample_frames(Path(path), 1.0) if frame.resized(_SIDE).size)


def markdown(rows: list[Row], growth: float) -> str:
    heads = [
        "clip",
        "CPU: every frame / ours",
        "goal",
        "wall",
        "ours / decoding alone",
        "wrong samples",
        "of every frame's",
        "its times off by",
    ]
    body = [
        f"| {row.kind} | {row.cpu} | {row.goal or '-'} | {row.wall} | {row.over_bound} "
        f"| {row.wrong} of {row.samples} | {row.obvious_wrong} | {row.obvious_error_s:.2f} s |"
        for row in rows
    ]
    last = f"Memory for six times the length: {growth:.2f} times (goal: at most {_GROWTH})"
    return "\n".join([f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|", *body, "", last])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.decode", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="12 s of two kinds, once: that it works, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args(arguments)
    seconds, rounds, kinds = (12, 1, KINDS[:1] + KINDS[4:5]) if options.quick else (50, 3, KINDS)
    folder = Settings.from_env().home / "bench"
    rows = []
    for kind in kinds:
        print(f"{kind.name} ...", file=sys.stderr)
        rows.append(compare(kind, folder, seconds, rounds))
    growth = memory_growth(KINDS[0].make(folder, seconds))
    print(markdown(rows, growth))
    if options.json:
        figures: dict[str, Any] = {"decode": [asdict(row) for row in rows], "memory_growth": growth}
        options.json.write_text(json.dumps(figures, indent=1))
    if options.quick:  # too short to judge its speed by
        return 0 if all(row.wrong == 0 for row in rows) else 1
    return 0 if all(row.holds for row in rows) and growth <= _GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
