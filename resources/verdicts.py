"""What people said of events, kept by what survives when the events are made again: the video, the kind of event, its
time, and where in the picture its person was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import class_row

from resources.database import Connection
from resources.records import Event

VERDICTS = ("confirmed", "rejected")
SAME_TIME = 0.3
"""Share of two events' joint time that they have in common from which they may be one: with other models an end moves
by a second or two, and events last a few."""
SAME_PLACE = 0.3
"""Intersection over union of the boxes at the peak: ids of tracks change with the models, places do not."""
_POINT_S = 0.5
"""An event without length counts as so long."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Verdict:
    """One person's word on one event. `event_key`, `track` and times are those of the event as it was then."""

    id: int
    video_id: int
    event_key: str
    event_type: str
    track: int
    start_s: float
    end_s: float
    box: list[float] | None
    verdict: str
    note: str
    recipe: str
    superseded: bool
    created_at: datetime


_COLUMNS = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(Verdict))


def record(connection: Connection, event: Event, verdict: str, note: str) -> None:
    """Keep the verdict; an earlier one of the same event stays, superseded."""
    with connection.transaction():
        earlier = of_events(standing(connection, event.video_id), [event]).get(event.event_key)
        if earlier is not None:
            connection.execute("UPDATE verdicts SET superseded = true WHERE id = %s", [earlier.id])
        connection.execute(
            "INSERT INTO verdicts (video_id, event_key, event_type, track, start_s, end_s, box, verdict, note, recipe) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                event.video_id,
                event.event_key,
                event.event_type,
                event.track,
                event.timestamp,
                event.end_s,
                list(box) if (box := place_of(event)) else None,
                verdict,
                note,
                event.recipe,
            ],
        )


def standing(connection: Connection, video_id: int) -> list[Verdict]:
    """Those of a video that no later one superseded, the oldest first."""
    query = sql.SQL("SELECT {} FROM verdicts WHERE video_id = %s AND NOT superseded ORDER BY id").format(_COLUMNS)
    with connection.cursor(row_factory=class_row(Verdict)) as cursor:
        return cursor.execute(query, [video_id]).fetchall()


def counts(connection: Connection) -> dict[str, dict[str, int]]:
    """Event type -> verdict -> how many stand, over all videos."""
    found: dict[str, dict[str, int]] = {}
    query = "SELECT event_type, verdict, count(*) FROM verdicts WHERE NOT superseded GROUP BY 1, 2 ORDER BY 1, 2"
    for kind, verdict, number in connection.execute(query):
        found.setdefault(kind, {})[verdict] = number
    return found


def of_events(verdicts: Sequence[Verdict], events: Sequence[Event]) -> dict[str, Verdict]:
    """The verdict of each event that has one, by its key: one to one, the best agreement first."""
    pairs = [
        (agreement, verdict.id, event.event_key, verdict)
        for verdict in verdicts
        for event in events
        if (agreement := _agreement(verdict, event)) > 0
    ]
    taken: set[int] = set()
    found: dict[str, Verdict] = {}
    for _, number, key, verdict in sorted(pairs, key=lambda pair: (-pair[0], -pair[1], pair[2])):
        if number not in taken and key not in found:
            taken.add(number)
            found[key] = verdict
    return found


def place_of(event: Event) -> Box | None:
    """The person's box at the peak, px, as the evidence holds it."""
    frames: Sequence[Mapping[str, Any]] = event.evidence.get("frames") or ()
    own = [frame for frame in frames if frame.get("track") == event.track]
    if not own:
        return None
    x1, y1, x2, y2 = min(own, key=lambda frame: abs(frame["time_s"] - event.peak_s))["box"]
    return float(x1), float(y1), float(x2), float(y2)


def _agreement(verdict: Verdict, event: Event) -> float:
    """0 where they cannot be one event: another kind, another time, or another place. Where no place is known the track
    must be the same."""
    if verdict.event_type != event.event_type or verdict.video_id != event.video_id:
        return 0.0
    time = _overlap((verdict.start_s, verdict.end_s), (event.timestamp, event.end_s))
    if time < SAME_TIME:
        return 0.0
    here = place_of(event)
    there = tuple(verdict.box) if verdict.box is not None else None
    place = _iou(there, here) if there is not None and here is not None else float(verdict.track == event.track)
    if place < SAME_PLACE:
        return 0.0
    return time + place + 0.1 * (verdict.event_key == event.event_key)


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    first, second = ((start, max(end, start + _POINT_S)) for start, end in (one, other))
    shared = min(first[1], second[1]) - max(first[0], second[0])
    return max(shared, 0.0) / (max(first[1], second[1]) - min(first[0], second[0]))


def _iou(one: Sequence[float], other: Sequence[float]) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(across, 0.0) * max(down, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / max(areas - shared, 1e-9)
