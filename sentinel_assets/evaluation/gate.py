"""A gate: figures that an evaluation must reach, given in words or as an earlier report.

collapse.recall>=1,false_alarms_per_hour<=0.5     THRESHOLDS, separated by commas
report.json                                       FILE of an earlier evaluation: no figure may be worse
gate.yaml                                         FILE of the form  collapse.recall: ">=1"
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel_assets.vision.errors import SentinelError

_BOUND = re.compile(r"\s*(>=|<=)\s*(-?\d+(?:\.\d+)?)\s*")
_LOWER_IS_BETTER = ("false_alarms_per_hour", "identity_switches")
_SAME = 1e-9


@dataclass(frozen=True)
class Bound:
    """A figure and what it must be: at least (`>=`) or at most (`<=`) that."""

    figure: str
    sign: str
    value: float

    def holds(self, figure: float | None) -> bool:
        """A figure that could not be measured holds no bound."""
        if figure is None:
            return False
        return figure >= self.value - _SAME if self.sign == ">=" else figure <= self.value + _SAME

    def __str__(self) -> str:
        return f"{self.figure} {self.sign} {self.value:g}"


def read_gate(text: str) -> list[Bound]:
    """The bounds of a FILE or of THRESHOLDS. Raises SentinelError where it is neither."""
    path = Path(text)
    if not any(sign in text for sign in (">=", "<=")):
        if not path.is_file():
            remedy = "Name a report.json or a YAML file, or write such as collapse.recall>=0.9"
            raise SentinelError("neither a file nor thresholds", where=f"--gate {text}", remedy=remedy)
        return _of_file(path)
    bounds = []
    for part in text.split(","):
        name = re.split(r">=|<=", part)[0].strip()
        bounds.append(_bound(name, part[part.find(name) + len(name) :] if name else part, f"--gate {text}"))
    return bounds


def broken(bounds: list[Bound], figures: Mapping[str, float | None]) -> list[str]:
    """One line for each bound that does not hold."""
    lines = []
    for bound in bounds:
        figure = figures.get(bound.figure)
        if not bound.holds(figure):
            shown = "not measured" if figure is None else f"{figure:.4g}"
            lines.append(f"{bound.figure} is {shown}, asked for {bound.sign} {bound.value:g}")
    return lines


def _of_file(path: Path) -> list[Bound]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        content: Any = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SentinelError(f"cannot be read: {error}", where=path) from error
    if isinstance(content, dict) and isinstance(content.get("figures"), dict):
        return [_no_worse(n, v) for n, v in sorted(content["figures"].items()) if v is not None]
    if not isinstance(content, dict):
        raise SentinelError("no mapping of figures to bounds", where=path, remedy='Write collapse.recall: ">=0.9"')
    return [_bound(str(name), str(value), path) for name, value in content.items()]


def _no_worse(name: str, value: float) -> Bound:
    return Bound(name, "<=" if name.rpartition(".")[2] in _LOWER_IS_BETTER else ">=", float(value))


def _bound(name: str, text: str, where: object) -> Bound:
    found = _BOUND.fullmatch(text)
    if not name or found is None:
        remedy = "Write such as collapse.recall>=0.9 or false_alarms_per_hour<=1"
        raise SentinelError(f"{name}{text} is no bound", where=where, remedy=remedy)
    return Bound(name, found[1], float(found[2]))
