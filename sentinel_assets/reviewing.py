"""An event as a person names it: VIDEO/KEY, such as `aisle.mp4/collapse-1-1`."""

from __future__ import annotations

from resources.warehouse import Event, Video, Warehouse
from sentinel_assets.vision.errors import SentinelError


def find_event(warehouse: Warehouse, text: str) -> tuple[Video, Event]:
    """The video and its event. Raises SentinelError where there is no such video or no such event in it."""
    video, slash, key = text.rpartition("/")
    if not slash or not video or not key:
        raise SentinelError(
            f"{text!r} names no event", where="event", remedy="Write VIDEO/KEY; `sentinel events VIDEO` shows the keys"
        )
    row = warehouse.find_video(video)
    found = [event for event in warehouse.events(row.id) if event.event_key == key]
    if not found:
        raise SentinelError(f"no event {key!r}", where=row.name, remedy=f"`sentinel events {row.id}` shows the keys")
    return row, found[0]
