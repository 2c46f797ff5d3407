"""The report of a canary: of each video that it redid, the events of before against those of now, also in pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from resources.artifacts import ArtifactStore
from resources.footage import FootageStore
from resources.generations import KeptResults
from sentinel_assets.backfills import begun
from sentinel_assets.canary import Change, Report, compare_videos, report_markdown, telling
from sentinel_assets.recipes import Version
from sentinel_assets.vision.errors import ArtifactMissing, SentinelError
from sentinel_assets.vision.tables import TABLES

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_LOOK_BACK = 20  # materializations of one video's events in which the version of before is looked for


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
    partitions = {p for one in begun(instance, upgrade) if one.canary for p in one.partitions}
    if not partitions:
        raise SentinelError(
            "it had no canary", where=f"upgrade {upgrade}", remedy="Start one with `sentinel backfill ASSET --canary N`"
        )
    return compare_results(instance, artifacts, partitions)


def compare_results(instance: dg.DagsterInstance, artifacts: ArtifactStore, partitions: Iterable[str]) -> Comparison:
    """The latest events of each video against those of the version before; a video with one version is unchanged."""
    before: dict[str, pd.DataFrame] = {}
    after: dict[str, pd.DataFrame] = {}
    compared: dict[str, tuple[Made, Made]] = {}
    for partition in partitions:
        made = _versions(instance, "events", partition)
        if not made:
            continue
        now, then = made[0], made[min(1, len(made) - 1)]
        compared[partition] = (then, now)
        after[partition] = _kept(artifacts, "events", partition, now.version)
        before[partition] = _kept(artifacts, "events", partition, then.version) if then is not now else after[partition]
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
    """The report as a file, its pictures in a folder beside it."""
    folder = path.with_name(f"{path.stem}-pictures")
    text = report_markdown(report, names)
    if drawn:
        folder.mkdir(parents=True, exist_ok=True)
    for number, (change, picture) in enumerate(drawn, 1):
        picture.save(folder / f"{number:02}.webp", "WEBP", quality=80)
        text += f"\n![{change.kind} {change.event['event_type']}]({folder.name}/{number:02}.webp)\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


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
    return moments.draw(frame, detections, poses, caption, width=_WIDTH, tracks=people, show_faces=show_faces)


def _people(event: Mapping[str, Any]) -> set[int]:
    return {int(event[name]) for name in ("track", "other_track") if not pd.isna(event[name])}


_WIDTH = 477  # px: two and a gap are as wide as a dialog of Dagster's UI shows


def _as_of(
    instance: dg.DagsterInstance, artifacts: ArtifactStore, name: str, partition: str, events: Made
) -> pd.DataFrame:
    """What those events were made from: the latest of that asset before them."""
    versions = _versions(instance, name, partition, before=events.record, limit=1)
    if not versions:
        raise ArtifactMissing(f"its {name} of then are not recorded", where=partition)
    return _kept(artifacts, name, partition, versions[0].version)


def _versions(
    instance: dg.DagsterInstance, asset: str, partition: str, *, before: int | None = None, limit: int = _LOOK_BACK
) -> list[Made]:
    """Those of the video's outputs, each once, the latest first."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition], before_storage_id=before)
    found: dict[str, Made] = {}
    for record in instance.fetch_materializations(wanted, limit=limit).records:
        event = record.asset_materialization
        text = (event.tags or {}).get("dagster/data_version", "") if event is not None else ""
        found.setdefault(text, Made(Version.parse(text), record.storage_id))
    return list(found.values())


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
