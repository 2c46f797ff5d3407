"""The report of a canary: of each video that it redid, the events of before against those of now, also in pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dagster as dg
import pandas as pd

from resources.artifacts import ArtifactStore
from resources.footage import FootageStore
from resources.generations import KeptResults
from sentinel_assets.backfills import begun
from sentinel_assets.canary import Change, Report, compare_videos, report_markdown, telling
from sentinel_assets.recipes import Version
from sentinel_assets.vision.errors import ArtifactMissing, SentinelError, StoreRejected
from sentinel_assets.vision.tables import TABLES

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_SIDE_PX = 477
"""Width of a picture: two and a gap are as wide as a dialog of Dagster's UI shows."""


@dataclass(frozen=True)
class Made:
    """An output as it stood at one moment: what is kept of it, and where its record stands among Dagster's."""

    version: Version
    record: int


@dataclass(frozen=True)
class Comparison:
    """A canary's report, and for each video the events of before and of now that it compares."""

    report: Report
    events: Mapping[str, tuple[Made, Made]]


def canary_report(instance: dg.DagsterInstance, artifacts: ArtifactStore, upgrade: str) -> Comparison:
    """Raises SentinelError where the upgrade had no canary, ArtifactMissing where a kept result is not there."""
    canaries = begun(instance, upgrade, canary=True)
    since = {p: one.requested_at for one in canaries for p in one.partitions}  # the latest is first, the earliest holds
    if not since:
        raise SentinelError(
            "it had no canary", where=f"upgrade {upgrade}", remedy="Start one with `sentinel backfill ASSET --canary N`"
        )
    return compare_results(instance, artifacts, since)


def compare_results(instance: dg.DagsterInstance, artifacts: ArtifactStore, since: Mapping[str, float]) -> Comparison:
    """The latest events of each video against those that it had at that time, s since the epoch. A video that had none
    is left out; one whose events are the same version is unchanged."""
    before: dict[str, pd.DataFrame] = {}
    after: dict[str, pd.DataFrame] = {}
    compared: dict[str, tuple[Made, Made]] = {}
    for partition, moment in since.items():
        now, then = _latest(instance, "events", partition), _latest(instance, "events", partition, at=moment)
        if now is None or then is None:
            continue
        compared[partition] = (then, now)
        after[partition] = _kept(artifacts, "events", partition, now.version)
        before[partition] = after[partition]
        if then.version != now.version:
            before[partition] = _kept(artifacts, "events", partition, then.version)
    return Comparison(compare_videos(before, after), compared)


def pictures(
    instance: dg.DagsterInstance,
    artifacts: ArtifactStore,
    found: Comparison,
    names: Mapping[str, str],
    *,
    count: int,
    show_faces: bool = False,
) -> list[tuple[Change, Picture]]:
    """The `count` changes that tell most, each drawn before and after; what cannot be drawn says why in its place."""
    from sentinel_assets.previews import changes

    drawn = []
    for change in telling(found.report, count):
        with ExitStack() as copy:  # one for both sides
            footage = cache(
                lambda at=change.partition, of=copy: of.enter_context(FootageStore(artifacts).local_copy(at))
            )
            before, now = (
                _side(instance, artifacts, change, when, event, made, footage, show_faces=show_faces)
                for when, event, made in zip(
                    ("before", "now"), (change.before, change.after), found.events[change.partition], strict=True
                )
            )
        name = names.get(change.partition, change.partition)
        drawn.append((change, changes.side_by_side(change, name, before, now)))
    return drawn


def _copied_once(artifacts: ArtifactStore, partition: str, until: ExitStack) -> Callable[[], Path]:
    """Gives the video as a local file, there until that ends; fetched when first asked for."""
    return cache(lambda: until.enter_context(FootageStore(artifacts).local_copy(partition)))


def _side(
    instance: dg.DagsterInstance,
    artifacts: ArtifactStore,
    change: Change,
    when: str,
    event: Mapping[str, Any] | None,
    made: Made,
    footage: Callable[[], Path],
    *,
    show_faces: bool,
) -> Picture:
    """The event where it is clearest, with its people; where there is none, that moment with all people."""
    from sentinel_assets.previews import changes

    said = f"{event['event_type']}, {event['confidence']:.0%} sure" if event else f"no {change.event['event_type']}"
    try:
        return _moment(
            instance,
            artifacts,
            change.partition,
            made,
            footage,
            at_s=float((event or change.event)["peak_s"]),
            people=_people(event) if event else None,
            caption=f"{when}: {said}",
            show_faces=show_faces,
        )
    except SentinelError as error:
        return changes.nothing(f"{when}: {said}; no picture, {error.what}")


def write_markdown(
    path: Path, report: Report, names: Mapping[str, str], drawn: Sequence[tuple[Change, Picture]]
) -> None:
    """The report as a file, its pictures in a folder beside it. Raises StoreRejected where it cannot be written."""
    folder = path.with_name(f"{path.stem}-pictures")
    text = report_markdown(report, names)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if drawn:
            folder.mkdir(exist_ok=True)
        for number, (change, picture) in enumerate(drawn, 1):
            picture.save(folder / f"{number:02}.webp", "WEBP", quality=80)
            text += f"\n![{change.kind} {change.event['event_type']}]({quote(folder.name)}/{number:02}.webp)\n"
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreRejected(
            f"the report cannot be written: {error.strerror}", where=path, remedy="Name a file in a folder of yours"
        ) from error


def _moment(
    instance: dg.DagsterInstance,
    artifacts: ArtifactStore,
    partition: str,
    made: Made,
    footage: Callable[[], Path],
    *,
    at_s: float,
    people: Collection[int] | None,
    caption: str,
    show_faces: bool,
) -> Picture:
    """The sampled frame nearest to a moment, with those people (None: all) as the stages before `made` had them."""
    from sentinel_assets.previews import moments
    from sentinel_assets.vision.frames import frames_at

    detections, poses = (_as_of(instance, artifacts, name, partition, made) for name in ("detections", "poses"))
    time_s = moments.sampled_near(detections, at_s)
    if time_s is None:
        raise SentinelError("the detections have no samples", where=partition)
    (frame,) = frames_at(footage(), [time_s])
    return moments.draw(frame, detections, poses, caption, width=_SIDE_PX, tracks=people, show_faces=show_faces)


def _people(event: Mapping[str, Any]) -> set[int]:
    return {int(event[name]) for name in ("track", "other_track") if not pd.isna(event[name])}


def _as_of(
    instance: dg.DagsterInstance, artifacts: ArtifactStore, name: str, partition: str, events: Made
) -> pd.DataFrame:
    """What those events were made from: the latest of that asset before them."""
    made = _latest(instance, name, partition, before=events.record)
    if made is None:
        raise ArtifactMissing(f"its {name} of then are not recorded", where=partition)
    return _kept(artifacts, name, partition, made.version)


def _latest(
    instance: dg.DagsterInstance, asset: str, partition: str, *, at: float | None = None, before: int | None = None
) -> Made | None:
    """The video's latest output; of a time (s since the epoch), or before a record. None where there was none."""
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(asset), asset_partitions=[partition], before_timestamp=at, before_storage_id=before
    )
    for record in instance.fetch_materializations(wanted, limit=1).records:
        event = record.asset_materialization
        text = (event.tags or {}).get("dagster/data_version", "") if event is not None else ""
        return Made(Version.parse(text), record.storage_id)
    return None


def _kept(artifacts: ArtifactStore, asset: str, partition: str, version: Version) -> pd.DataFrame:
    kept = KeptResults(artifacts, TABLES[asset], partition)
    frame = kept.read(version.recipe, version.inputs)
    if frame is None:
        raise ArtifactMissing(
            f"the kept {asset} are not there",
            where=artifacts.uri(kept.name(version.recipe, version.inputs)),
            remedy="Compare what is there by `sentinel events`",
        )
    return frame
