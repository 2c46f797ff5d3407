"""Postures second by second: what was labelled against what was said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sentinel_assets.evaluation.dataset import LYING, Span

POSTURES = ("walking", "standing", "sitting", "lying")
_OF_LABEL: Mapping[str, str] = {
    **{posture: posture for posture in POSTURES},
    "collapse": "lying",
    **dict.fromkeys(LYING, "lying"),
}


def labelled_seconds(spans: Sequence[Span]) -> Iterator[tuple[float, str]]:
    """(second, posture) of every whole second that a posture is labelled at; where two meet, the later holds."""
    if not spans:
        return
    for second in range(int(np.floor(max(span.end_s for span in spans))) + 1):
        now = [s for s in spans if s.label in _OF_LABEL and s.start_s <= second <= s.end_s]
        if now:
            yield float(second), _OF_LABEL[max(now, key=lambda span: span.start_s).label]


def posture_at(behaviors: pd.DataFrame, second: float, expected: str) -> str:
    """What the analysis says of somebody at that moment: the expected posture if anybody is said to show it, else that
    of the person seen the longest; `unknown` where nothing is said."""
    now = behaviors[(behaviors["start_s"] <= second + 1e-6) & (behaviors["end_s"] >= second - 1e-6)]
    said = [(posture_of(row), row["end_s"] - row["start_s"]) for row in now.to_dict("records")]
    known = [(posture, lasts) for posture, lasts in said if posture is not None]
    if expected in {posture for posture, _ in known}:
        return expected
    return max(known, key=lambda pair: pair[1])[0] if known else "unknown"


def posture_of(row: Mapping[Any, Any]) -> str | None:
    """The posture that a row of behaviors speaks of; None of those that lie over postures."""
    if row["behavior"] == "collapse":
        return "lying"
    if row["behavior"] in POSTURES:
        return str(row["behavior"])
    evidence = json.loads(str(row["evidence"]))
    return "lying" if evidence.get("rule") == "person_lying" else None


def confusion(pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Labelled -> said -> how many seconds."""
    counted = Counter(pairs)
    said = (*POSTURES, "unknown")
    rows = [posture for posture in POSTURES if any(labelled == posture for labelled, _ in counted)]
    return {row: {column: counted[row, column] for column in said} for row in rows}


def accuracy(pairs: Sequence[tuple[str, str]]) -> float | None:
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None
