"""Events in words: the sentences with a picture of each, and which events search takes for alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sentinel_assets.previews import annotation
from sentinel_assets.previews.encoding import MAX_MARKDOWN, as_markdown, photo
from sentinel_assets.previews.lanes import ALARMS
from sentinel_assets.previews.markdown import escape, table
from sentinel_assets.vision.frames import Frame
from sentinel_assets.vision.models.template import clock

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_ROWS = 12
_THUMBNAIL_PX = (128, 96)
_MAX_THUMBNAIL = 2_600
"""Bytes; twelve of them, in base64, leave some 8 kB for the words."""
_MAX_QUERIES, _NEIGHBOURS = 6, 3
_NO_EVENTS = "No events were found in this video."


@dataclass(frozen=True)
class Glimpse:
    """Where an event's person is seen best: the sampled time nearest to its peak, and the box there, px."""

    event_key: str
    time_s: float
    box: tuple[float, float, float, float]


def chosen_events(descriptions: pd.DataFrame, count: int = MAX_ROWS) -> pd.DataFrame:
    """At most `count` rows by time: alarms first, then the others spread over the video."""
    alarms = descriptions[descriptions["behavior"].isin(ALARMS)].head(count)
    others = descriptions.drop(alarms.index).sort_values("start_s", kind="stable")
    free = min(count - len(alarms), len(others))
    spread = others.iloc[np.linspace(0, len(others) - 1, free).round().astype(int)] if free else others.head(0)
    return pd.concat([alarms, spread]).sort_values(["start_s", "event_key"], kind="stable")


def glimpses(descriptions: pd.DataFrame, detections: pd.DataFrame) -> list[Glimpse]:
    """One for each event of whose track there is a box, by time."""
    persons = detections[detections["kind"] == "person"]
    of_track = {int(str(track).removesuffix(".0")): rows for track, rows in persons.groupby("track")}
    found = []
    for event in descriptions.to_dict("records"):
        rows = of_track.get(int(event["track"]))
        if rows is not None:
            row = rows.iloc[int((rows["time_s"] - event["peak_s"]).abs().to_numpy().argmin())]
            box = (float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"]))
            found.append(Glimpse(event["event_key"], float(row["time_s"]), box))
    return sorted(found, key=lambda glimpse: glimpse.time_s)


def thumbnails(
    frames: Iterable[Frame], wanted: list[Glimpse], detections: pd.DataFrame, *, show_faces: bool = False
) -> dict[str, bytes]:
    """A small picture of each event, by its key; `frames` are those of the glimpses' times, each once."""
    pictures = {}
    for frame in frames:
        image = annotation.private_image(frame, detections, show_faces=show_faces)
        for glimpse in wanted:
            if abs(glimpse.time_s - frame.time_s) < 1e-3:
                pictures[glimpse.event_key] = photo(_thumbnail(image, glimpse.box), _MAX_THUMBNAIL)
    return pictures


def description_table(descriptions: pd.DataFrame, pictures: Mapping[str, bytes] | None = None) -> str:
    """Markdown: time, behavior and sentence of some events, with a picture where there is one."""
    if descriptions.empty:
        return _NO_EVENTS
    shown = chosen_events(descriptions)
    rows = [
        [
            as_markdown(pictures[event["event_key"]], str(event["event_key"]))
            if pictures and event["event_key"] in pictures
            else "",
            clock(event["start_s"]),
            escape(str(event["behavior"])),
            escape(str(event["description"])),
        ]
        for event in shown.to_dict("records")
    ]
    return _fitting(["", "Time", "Behavior", "Description"], rows, len(descriptions))


def neighbour_table(descriptions: pd.DataFrame, embeddings: pd.DataFrame) -> str:
    """Markdown: for a few events those whose sentences are nearest to theirs, with the cosine of the vectors."""
    if descriptions.empty:
        return _NO_EVENTS
    if len(descriptions) == 1:
        return "There is only one event, and so none to compare it with."
    vectors = np.stack(list(embeddings.set_index("event_key").loc[descriptions["event_key"], "vector"]))
    texts = descriptions["description"].tolist()
    rows = []
    for query in _varied(descriptions):
        similarity = vectors @ vectors[query]
        similarity[query] = -np.inf
        nearest = np.argsort(-similarity, kind="stable")[: min(_NEIGHBOURS, len(texts) - 1)]
        for rank, other in enumerate(nearest):
            asked = escape(texts[query]) if rank == 0 else ""
            rows.append([asked, escape(texts[other]), f"{similarity[other]:.3f}"])
    return _fitting(["Event", "Nearest in meaning", "Cosine"], rows, None)


def _varied(descriptions: pd.DataFrame) -> list[int]:
    """Positions of a few events: one of each behavior, then the first of the others."""
    behaviors = descriptions["behavior"].reset_index(drop=True)
    first = behaviors.drop_duplicates().index.tolist()
    rest = [position for position in behaviors.index.tolist() if position not in set(first)]
    return sorted([*first, *rest][:_MAX_QUERIES])


def _fitting(header: list[str], rows: list[list[str]], total: int | None) -> str:
    """The table, with as many rows as fit, and a note of how many there are besides."""
    while True:
        more = (total or 0) - len(rows)
        text = table(header, rows) + (f"\n\nand {more} more events" if more > 0 else "")
        if len(text) < MAX_MARKDOWN or not rows:
            return text
        rows = rows[:-1]


def _thumbnail(image: Any, box: tuple[float, float, float, float]) -> Picture:
    """The person with surroundings, in the shape of all thumbnails."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    height, width = image.shape[:2]
    shape = _THUMBNAIL_PX[0] / _THUMBNAIL_PX[1]
    half_y = max((box[3] - box[1]) * 0.62, (box[2] - box[0]) * 0.62 / shape, 8.0)
    half_x = half_y * shape
    x = min(max((box[0] + box[2]) / 2, half_x), max(width - half_x, half_x))
    y = min(max((box[1] + box[3]) / 2, half_y), max(height - half_y, half_y))
    part = (x - half_x, y - half_y, x + half_x, y + half_y)
    picture = Pillow.fromarray(image).resize(
        _THUMBNAIL_PX,
        Pillow.Resampling.LANCZOS,
        box=(max(part[0], 0), max(part[1], 0), min(part[2], width), min(part[3], height)),
    )
    ImageDraw.Draw(picture).rectangle((0, 0, _THUMBNAIL_PX[0] - 1, _THUMBNAIL_PX[1] - 1), outline="#1f2328")
    return picture
