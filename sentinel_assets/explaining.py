"""`sentinel explain`: an event's evidence replayed, in words, as JSON, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.markup import escape

from resources.artifacts import ArtifactStore
from resources.footage import FootageStore
from resources.generations import KeptResults
from resources.settings import Settings
from sentinel_assets.filming import Filming
from sentinel_assets.recipes import inputs_digest, recipe, table_digest
from sentinel_assets.report import clock, reviewed_event
from sentinel_assets.reviewing import find_event
from sentinel_assets.vision.behaviors import BehaviorParameters, recognise_behaviors
from sentinel_assets.vision.errors import ArtifactMissing, SentinelError, StoreRejected
from sentinel_assets.vision.tables import BEHAVIORS_TABLE, DETECTIONS, POSES

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from resources.warehouse import Event, Video, Warehouse

_SAME_TIME_S = 1e-3


class Origin(StrEnum):
    """How the event was made, compared with how it would be made now."""

    NOW = "now"
    OTHER_RECIPE = "other recipe"
    OTHER_INPUTS = "other inputs"
    """Other detections, poses or zones than are there now; or nothing is kept by which to tell."""


@dataclass(frozen=True)
class Replay:
    """The rules of now over the stored tables. `outcome` is `same`, `changed` (another time, confidence or value) or
    `gone`."""

    outcome: str
    origin: Origin
    behavior: Mapping[str, Any] | None


def explain_event(
    warehouse: Warehouse, text: str, settings: Settings, *, picture: Path | None, as_json: bool, out: Console
) -> None:
    """Print the explanation; with `picture` also write the moments that the event rests on."""
    video, event = find_event(warehouse, text)
    store = ArtifactStore(settings.artifacts)
    detections, poses = (store.read_table(table, video.partition_key) for table in (DETECTIONS, POSES))
    again = replay(video, event, detections, poses, store)
    if picture is not None:
        with FootageStore(store).local_copy(video.partition_key) as path:
            drawn = draw(path, event, detections, poses, show_faces=settings.show_faces)
        picture.parent.mkdir(parents=True, exist_ok=True)
        drawn.save(picture, "WEBP", quality=80)
    said = warehouse.verdicts_of(warehouse.events(video.id)).get((video.id, event.event_key))
    if as_json:
        content = {
            **reviewed_event(event, said),
            "video": video.name,
            "replay": {
                "outcome": again.outcome,
                "by_the_recipe_of_now": again.origin is not Origin.OTHER_RECIPE,
                "origin": again.origin,
                "behavior": again.behavior,
            },
            "picture": str(picture) if picture else None,
        }
        out.file.write(json.dumps(content, ensure_ascii=False, indent=2) + "\n")
        return
    for line in lines(video, event, again, said.verdict if said else None):
        out.print(escape(line), soft_wrap=True, highlight=False)
    if picture is not None:
        out.print(escape(f"picture      {picture}"), soft_wrap=True, highlight=False)


def replay(video: Video, event: Event, detections: pd.DataFrame, poses: pd.DataFrame, store: ArtifactStore) -> Replay:
    """Run the rules of now over the tables that are stored, and look for this event among what they find."""
    filming = Filming.of(video.name, video.uri)
    behaviors = recognise_behaviors(
        detections,
        poses,
        parameters=BehaviorParameters(),
        camera=filming.camera,
        recorded_at=filming.recorded_at,
    )
    origin = _origin(video, event, store, detections=detections, poses=poses, camera=filming.digest)
    rule = event.evidence.get("rule")
    best: dict[str, Any] | None = None
    for row in behaviors[(behaviors["behavior"] == event.event_type)].to_dict("records"):
        evidence = json.loads(row["evidence"])
        overlaps = row["start_s"] <= event.end_s and row["end_s"] >= event.timestamp
        if row["track"] != event.track or evidence["rule"] != rule or not overlaps:
            continue
        shown = {
            "start_s": row["start_s"],
            "peak_s": row["peak_s"],
            "end_s": row["end_s"],
            "confidence": round(float(row["confidence"]), 4),
            "values": evidence["values"],
        }
        if best is None or abs(row["start_s"] - event.timestamp) < abs(best["start_s"] - event.timestamp):
            best = shown
    if best is None:
        return Replay("gone", origin, None)
    times = zip(
        (best["start_s"], best["peak_s"], best["end_s"]), (event.timestamp, event.peak_s, event.end_s), strict=True
    )
    same = all(abs(a - b) <= _SAME_TIME_S for a, b in times)
    same = same and abs(best["confidence"] - event.confidence) <= _SAME_TIME_S
    same = same and best["values"] == dict(event.evidence.get("values", {}))
    return Replay("same" if same else "changed", origin, best)


def _origin(video: Video, event: Event, store: ArtifactStore, **inputs: pd.DataFrame | str) -> Origin:
    """Whether the behaviors that are stored are what the rules of now made of these inputs, as it was kept then."""
    made = recipe("behaviors").digest
    if event.recipes.get("behaviors") != made:
        return Origin.OTHER_RECIPE
    kept = KeptResults(store, BEHAVIORS_TABLE, video.partition_key).read(made, inputs_digest(inputs))
    if kept is None:
        return Origin.OTHER_INPUTS
    try:
        stored = store.read_table(BEHAVIORS_TABLE, video.partition_key)
    except (ArtifactMissing, StoreRejected):
        return Origin.OTHER_INPUTS
    same = table_digest("behaviors", kept) == table_digest("behaviors", stored)
    return Origin.NOW if same else Origin.OTHER_INPUTS


def lines(video: Video, event: Event, again: Replay, verdict: str | None) -> list[str]:
    """The explanation for a person."""
    evidence = event.evidence
    told = [
        f"{video.name}/{event.event_key}: {event.event_type}, {event.confidence:.0%} sure",
        f"when         {clock(event.timestamp)}-{clock(event.end_s)}, clearest at {clock(event.peak_s)} "
        f"({event.timestamp:.2f}, {event.peak_s:.2f}, {event.end_s:.2f} s)",
        f"said         {event.description}",
        f"rule         {evidence.get('rule')}, revision {evidence.get('revision')}"
        + (f", zones of the camera {evidence['camera']}" if evidence.get("camera") else ""),
    ]
    told += _named("measured", evidence.get("values", {}))
    told += _named("against", evidence.get("thresholds", {}))
    if evidence.get("note"):
        told.append(f"note         {evidence['note']}")
    told.append(f"rests on     {len(evidence.get('samples', []))} samples; keypoints are kept of {_moments(event)}")
    told += _named("recipes", event.recipes)
    outcomes = {
        "same": "the rules over the stored tables say the same again",
        "changed": f"the rules over the stored tables now say something else: {json.dumps(again.behavior)}",
        "gone": "the rules over the stored tables no longer say this",
    }
    origins = {
        Origin.NOW: "made by the recipe of now",
        Origin.OTHER_RECIPE: "made by another recipe than would be used now",
        Origin.OTHER_INPUTS: "made from other detections, poses or zones than are there now, or from what is lost",
    }
    told.append(f"replayed     {outcomes[again.outcome]}; {origins[again.origin]}")
    if verdict or event.needs_review:
        told.append(f"review       {verdict or 'asked for'}")
    return told


def draw(
    path: Path, event: Event, detections: pd.DataFrame, poses: pd.DataFrame, *, show_faces: bool = False
) -> Picture:
    """The frames of the evidence side by side, with box and skeleton of its people.

    Raises SentinelError where the event holds no frames, or the stored detections are not those it was made of.
    """
    from PIL import Image as Pillow

    from sentinel_assets.previews import moments
    from sentinel_assets.vision.frames import frames_at

    frames: Sequence[Mapping[str, Any]] = event.evidence.get("frames") or ()
    if not frames:
        remedy = "It was made by an older version: analyse the video again"
        raise SentinelError("its evidence holds no frames", where=event.event_key, remedy=remedy)
    times = sorted({float(frame["time_s"]) for frame in frames})
    people = {int(frame["track"]) for frame in frames}
    near = [moments.sampled_near(detections, time_s) for time_s in times]
    if any(found is None or abs(found - time_s) > _SAME_TIME_S for found, time_s in zip(near, times, strict=True)):
        remedy = "Analyse the video again"
        raise SentinelError("the stored detections are of other frames", where=event.event_key, remedy=remedy)
    exact = [found for found in near if found is not None]
    pictures = [
        moments.draw(frame, detections, poses, _caption(event, frame.time_s), tracks=people, show_faces=show_faces)
        for frame in frames_at(path, exact)
    ]
    gap = 6
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    sheet = Pillow.new("RGB", (width, max(p.height for p in pictures)), "#fcfcfa")
    x = 0
    for drawn in pictures:
        sheet.paste(drawn, (x, 0))
        x += drawn.width + gap
    return sheet


def _caption(event: Event, time_s: float) -> str:
    """Which moment it is: start, peak or end, whichever is nearest."""
    named = {"start": event.timestamp, "peak": event.peak_s, "end": event.end_s}
    return f"{event.event_type}: {min(named, key=lambda name: abs(named[name] - time_s))}"


def _moments(event: Event) -> str:
    frames = event.evidence.get("frames") or ()
    times = sorted({float(frame["time_s"]) for frame in frames})
    return ", ".join(f"{time_s:.2f} s" for time_s in times) or "none"


def _named(title: str, values: Mapping[str, Any]) -> list[str]:
    """`title` beside the first `name = value`, the others below."""
    shown = [f"{name} = {'unknown' if value is None else value}" for name, value in sorted(values.items())]
    return [f"{title if i == 0 else '':<12} {entry}" for i, entry in enumerate(shown)]
