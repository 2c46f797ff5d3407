"""Old against new: which events an upgrade added, lost and changed."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from resources.artifacts import ArtifactStore
from resources.generations import KeptResults
from sentinel_assets.canary import compare_videos, report_markdown
from sentinel_assets.canary_report import canary_report, compare_results
from sentinel_assets.recipes import Version
from sentinel_assets.vision.errors import ArtifactMissing, SentinelError
from sentinel_assets.vision.tables import EVENTS
from tests.builders.events import event_rows


def events(*spans: tuple[str, float, float], **columns: object) -> pd.DataFrame:
    """(type, start, end) each."""
    frame = event_rows(len(spans), description="A man", **columns)
    kinds, starts, ends = zip(*spans, strict=True) if spans else ((), (), ())
    return frame.assign(event_type=kinds, timestamp=starts, end_s=ends)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (events(("walking", 0, 9)), events(("walking", 0, 9)), {}),
        (events(("walking", 0, 9)), events(("walking", 0.5, 9.5)), {}),  # seen at the sample beside
        (events(("walking", 0, 9)), events(("walking", 3, 9)), {"changed": 1}),
        (events(("walking", 0, 9)), events(("standing", 0, 9)), {"added": 1, "gone": 1}),  # another type
        (events(), events(("walking", 0, 9)), {"added": 1}),
        (events(("walking", 0, 9)), events(), {"gone": 1}),
        (events(("walking", 0, 9)), events(("walking", 0, 4), ("walking", 5, 9)), {"changed": 1, "added": 1}),  # split
        (events(("walking", 0, 9)), events(("walking", 0, 9), track=7), {}),  # a track numbered otherwise
        (events(("walking", 0, 9)), events(("walking", 0, 9), confidence=0.3), {"changed": 1}),
        (events(("walking", 0, 9), age=None), events(("walking", 0, 9)), {"changed": 1}),
        (events(("walking", 4, 4)), events(("walking", 4, 4)), {}),  # of no length
    ],
)
def test_each_event_is_the_same_changed_added_or_gone(
    before: pd.DataFrame, after: pd.DataFrame, expected: dict[str, int]
) -> None:
    report = compare_videos({"7": before}, {"7": after})
    assert dict(report.counts) == expected
    assert (report.before, report.after) == (len(before), len(after))


def test_the_report_gives_figures_and_names_what_changed() -> None:
    before = {"7": events(("walking", 0, 9), ("theft", 20, 30)), "8": events()}
    after = {"7": events(("walking", 0, 9), ("standing", 12, 14)), "8": events()}
    report = compare_videos(before, after)
    assert report.agreement == pytest.approx(1 / 3)
    text = report_markdown(report, {"7": "aisle|1.mp4"})
    assert text.startswith("2 videos, 2 events before and 2 after: 33% of the events are in both; 1 unchanged")
    assert "| gone | aisle\\|1.mp4 | 20.0-30.0 s | theft |" in text
    assert "| added | aisle\\|1.mp4 | 12.0-14.0 s | standing |" in text


def test_nothing_to_compare_is_said_so() -> None:
    assert compare_videos({"7": events()}, {"7": events()}).agreement is None


def test_the_events_of_before_are_those_that_were_kept(tmp_path: Path) -> None:
    """Made, made again alike, upgraded: the version of before is the last other one."""
    store = ArtifactStore(str(tmp_path))
    kept = KeptResults(store, EVENTS, "7")
    versions = []
    for recipe, frame in (("old", events(("walking", 0, 9))), ("new", events(("walking", 0, 9), ("theft", 2, 4)))):
        versions.append(str(Version(recipe, kept.write(recipe, "i", frame), "i")))
    with dg.DagsterInstance.ephemeral() as instance:
        for version in (versions[0], versions[0], versions[1]):
            instance.report_runless_asset_event(
                dg.AssetMaterialization("events", partition="7", tags={"dagster/data_version": version})
            )
        assert dict(compare_results(instance, store, ["7", "never made"]).counts) == {"added": 1}
        with pytest.raises(SentinelError, match="had no canary"):
            canary_report(instance, store, "events-new")
        Path(store.uri(kept.name("old", "i"))).unlink()
        with pytest.raises(ArtifactMissing, match="kept events"):
            compare_results(instance, store, ["7"])
