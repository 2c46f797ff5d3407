"""The report of a canary: of each video that it redid, the events of before against those of now."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
import pandas as pd

from resources.artifacts import ArtifactStore
from resources.generations import KeptResults
from sentinel_assets.backfills import begun
from sentinel_assets.canary import Report, compare_videos
from sentinel_assets.recipes import Version
from sentinel_assets.vision.errors import ArtifactMissing, SentinelError
from sentinel_assets.vision.tables import TABLES

_LOOK_BACK = 20  # materializations of one video's events in which the version of before is looked for


def canary_report(instance: dg.DagsterInstance, artifacts: ArtifactStore, upgrade: str) -> Report:
    """Raises SentinelError where the upgrade had no canary, ArtifactMissing where a kept result is not there."""
    partitions = {p for one in begun(instance, upgrade) if one.canary for p in one.partitions}
    if not partitions:
        raise SentinelError(
            "it had no canary", where=f"upgrade {upgrade}", remedy="Start one with `sentinel backfill ASSET --canary N`"
        )
    return compare_results(instance, artifacts, partitions)


def compare_results(instance: dg.DagsterInstance, artifacts: ArtifactStore, partitions: Iterable[str]) -> Report:
    """The latest events of each video against those of the version before; a video with one version is unchanged."""
    before: dict[str, pd.DataFrame] = {}
    after: dict[str, pd.DataFrame] = {}
    for partition in partitions:
        versions = _versions(instance, partition)
        if not versions:
            continue
        after[partition] = _kept(artifacts, partition, versions[0])
        before[partition] = _kept(artifacts, partition, versions[1]) if len(versions) > 1 else after[partition]
    return compare_videos(before, after)


def _versions(instance: dg.DagsterInstance, partition: str) -> list[Version]:
    """Those of the video's events, each once, the latest first."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("events"), asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=_LOOK_BACK).records
    events = [record.asset_materialization for record in records]
    texts = [(event.tags or {}).get("dagster/data_version", "") for event in events if event is not None]
    return [Version.parse(text) for text in dict.fromkeys(texts)]


def _kept(artifacts: ArtifactStore, partition: str, version: Version) -> pd.DataFrame:
    kept = KeptResults(artifacts, TABLES["events"], partition)
    frame = kept.read(version.recipe, version.inputs)
    if frame is None:
        raise ArtifactMissing(
            "the kept events are not there",
            where=artifacts.uri(kept.name(version.recipe, version.inputs)),
            remedy="Compare what is there by `sentinel events`",
        )
    return frame
