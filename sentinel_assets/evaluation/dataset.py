"""Labelled clips: a folder with `labels.csv` (what happens when) and, where boxes are labelled, MOT files.

labels.csv              clip,start_s,end_s,label          one row for each stretch of time
gt/<clip's stem>.txt    frame,id,x,y,w,h,conf,class,vis   MOTChallenge; frame counts from 1 at the clip's rate
<clip's stem>/gt/gt.txt                                   the same, as MOTChallenge lays it out
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.tables import BEHAVIORS

LYING = ("lying", "sleeping")
"""Labels beside the eight: a posture, and no event of ours."""
_COLUMNS = ("clip", "start_s", "end_s", "label")


@dataclass(frozen=True)
class Span:
    """Somebody does this from `start_s` to `end_s`, seconds from the clip's first frame."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class TruthBoxes:
    """Labelled boxes (N, 4) x1 y1 x2 y2 px, with frame numbers (from 1) and the persons' ids."""

    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]


@dataclass(frozen=True)
class LabelledClip:
    path: Path
    spans: tuple[Span, ...] = ()
    boxes: TruthBoxes | None = None

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Dataset:
    """Clips with labels, by their names."""

    name: str
    clips: tuple[LabelledClip, ...]

    @classmethod
    def read(cls, place: Path) -> Dataset:
        """The data set of a folder, or of a CSV whose clips lie beside it. Raises SentinelError with file and line."""
        folder, table = (place, place / "labels.csv") if place.is_dir() else (place.parent, place)
        if not place.exists():
            raise SentinelError("there is no such data set", where=place, remedy="Name a folder with labels.csv")
        spans = _spans(table) if table.exists() else {}
        boxes = dict(_mot_files(folder))
        names = sorted({*spans, *(path.name for path in _clips_of(folder, boxes))})
        if not names:
            remedy = f"Write labels.csv with the columns {','.join(_COLUMNS)}, or MOT files as gt/CLIP.txt"
            raise SentinelError("nothing is labelled here", where=place, remedy=remedy)
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise SentinelError(
                f"the clip {missing[0]} is not there", where=folder, remedy="Put the clips beside their labels"
            )
        return cls(
            folder.name,
            tuple(
                LabelledClip(
                    folder / name,
                    tuple(spans.get(name, ())),
                    _read_mot(boxes[stem]) if (stem := Path(name).stem) in boxes else None,
                )
                for name in names
            ),
        )


def _spans(table: Path) -> Mapping[str, list[Span]]:
    allowed = (*BEHAVIORS, *LYING)
    spans: dict[str, list[Span]] = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
            raise SentinelError(f"no column {missing[0]}", where=table, remedy=f"Its columns are {','.join(_COLUMNS)}")
        for row in reader:
            where = f"{table}:{reader.line_num}"
            try:
                start_s, end_s = float(row["start_s"]), float(row["end_s"])
            except (TypeError, ValueError) as error:
                raise SentinelError(f"not a time: {error}", where=where, remedy="Write seconds") from error
            if not 0 <= start_s <= end_s:
                raise SentinelError(f"from {start_s:g} to {end_s:g} s", where=where, remedy="Give the smaller first")
            if row["label"] not in allowed:
                remedy = f"Use one of {', '.join(allowed)}"
                raise SentinelError(f"no label {row['label']!r}", where=where, remedy=remedy)
            spans[row["clip"]].append(Span(row["label"], start_s, end_s))
    return spans


def _mot_files(folder: Path) -> Iterator[tuple[str, Path]]:
    yield from ((path.parent.parent.name, path) for path in sorted(folder.glob("*/gt/gt.txt")))
    yield from ((path.stem, path) for path in sorted((folder / "gt").glob("*.txt")))


def _clips_of(folder: Path, boxes: Mapping[str, Path]) -> Iterator[Path]:
    for stem in sorted(boxes):
        found = sorted(path for path in folder.glob("*") if path.stem == stem and path.is_file())
        if not found:
            raise SentinelError(f"no clip is called {stem}", where=folder, remedy="Put the clip beside its boxes")
        yield found[0]


def _read_mot(path: Path) -> TruthBoxes:
    """Rows with conf 0 are marked by MOTChallenge as not to be judged; class 1 is a pedestrian."""
    rows = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                values = [float(value) for value in line.split(",")]
                frame, person, x, y, width, height = values[:6]
            except ValueError as error:
                remedy = "Write frame,id,x,y,w,h,conf,class,visibility"
                raise SentinelError(f"no row of MOT: {error}", where=f"{path}:{number}", remedy=remedy) from error
            considered = len(values) < 7 or values[6] != 0
            if considered and (len(values) < 8 or values[7] in (1, -1)):
                rows.append((frame, person, x, y, x + width, y + height))
    table = np.array(rows, float).reshape(-1, 6)
    return TruthBoxes(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:])
