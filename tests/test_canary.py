"""Old against new: which events an upgrade added, lost and changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from resources.artifacts import ArtifactStore
from resources.footage import FootageStore, describe_file
from resources.generations import KeptResults
from resources.settings import Settings
from sentinel_assets.backfills import begin
from sentinel_assets.canary import compare_videos, report_markdown
from sentinel_assets.canary_report import canary_report, compare_results, pictures, write_markdown
from sentinel_assets.planning import Plan
from sentinel_assets.recipes import Version
from sentinel_assets.vision.errors import ArtifactMissing, SentinelError, StoreRejected
from sentinel_assets.vision.tables import DETECTIONS, EVENTS, POSES, Table
from tests.builders.clips import write_clip
from tests.builders.events import event_rows
from tests.builders.sightings import box, detections


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


def made(instance: dg.DagsterInstance, store: ArtifactStore, recipe: str, *tables: tuple[Table, pd.DataFrame]) -> None:
    """Outputs of video 7 by that recipe: kept, and on record."""
    for table, frame in tables:
        version = Version(recipe, KeptResults(store, table, "7").write(recipe, "i", frame), "i")
        tags = {"dagster/data_version": str(version)}
        instance.report_runless_asset_event(dg.AssetMaterialization(table.name, partition="7", tags=tags))


def test_the_events_of_before_are_those_that_the_canary_found(tmp_path: Path) -> None:
    """Not merely the version before the latest: what an upgrade of long ago changed is not reported."""
    store = ArtifactStore(str(tmp_path))
    with dg.DagsterInstance.local_temp() as instance:
        begun_at = [time.time()]
        for recipe, spans in (
            ("ancient", []),
            ("old", [("walking", 0, 9)]),
            ("new", [("walking", 0, 9), ("theft", 2, 4)]),
        ):
            made(instance, store, recipe, (EVENTS, events(*spans)))
            begun_at.append(time.time())
        of_ancient, of_old, of_new = (
            compare_results(instance, store, {"7": moment, "never made": moment}).report for moment in begun_at[1:]
        )
        assert dict(of_ancient.counts) == {"added": 2}
        assert dict(of_old.counts) == {"added": 1}
        assert (of_new.videos, of_new.unchanged, dict(of_new.counts)) == (1, 2, {})  # the canary never got to it
        assert compare_results(instance, store, {"7": begun_at[0]}).report.videos == 0  # nothing was there to change
        with pytest.raises(SentinelError, match="had no canary"):
            canary_report(instance, store, "events-new")
        Path(store.uri(KeptResults(store, EVENTS, "7").name("old", "i"))).unlink()
        with pytest.raises(ArtifactMissing, match="kept events"):
            compare_results(instance, store, {"7": begun_at[2]})


@pytest.fixture
def upgraded(tmp_path: Path) -> Iterator[tuple[dg.DagsterInstance, ArtifactStore]]:
    """Video 7 of ten seconds as an upgrade of its detections left it: the person was at the left, and is at the right
    now; a theft is gone, and a collapse came."""
    clip = tmp_path / "clip.mp4"
    write_clip(clip, frames=100, rate=10, width=320, height=240)
    store = ArtifactStore(str(tmp_path / "artifacts"))
    FootageStore(store).register("7", describe_file(clip))
    with dg.DagsterInstance.local_temp() as instance:
        instance.add_dynamic_partitions("videos", ["7"])
        for recipe, kind, x in (("old", "theft", 20), ("new", "collapse", 220)):
            found = detections([box(s, 1, (x, 60, x + 80, 220)) for s in range(10)], 10)
            rows = events(("walking", 0, 9), (kind, 2, 6), track=1).assign(peak_s=4.2)
            made(instance, store, recipe, (DETECTIONS, found), (POSES, POSES.frame([])), (EVENTS, rows))
            if recipe == "old":
                begin(instance, Plan("detections", "new", (("7", ("detections", "events")),)), canary=True)
        yield instance, store


def test_changes_are_drawn_as_they_were_and_as_they_are(upgraded: tuple[dg.DagsterInstance, ArtifactStore]) -> None:
    """Alarms before anything else; the box of each side is where the detections of that time had it."""
    instance, store = upgraded
    compared = canary_report(instance, store, "detections-new")
    (gone, first), (added, second) = pictures(instance, store, compared, {"7": "aisle.mp4"}, count=5)
    assert [(c.kind, c.event["event_type"]) for c in (gone, added)] == [("gone", "theft"), ("added", "collapse")]
    left, right = np.asarray(first)[:, : first.width // 2], np.asarray(first)[:, first.width // 2 :]
    assert orange(left)[: left.shape[1] // 2].any()
    assert orange(right)[right.shape[1] // 2 :].any()  # no such event: what there is of people at that moment
    assert not orange(right)[: right.shape[1] // 4].any()
    after = orange(np.asarray(second)[:, second.width // 2 :])
    assert after[second.width // 4 :].any()
    assert not after[: second.width // 8].any()


def orange(image: np.ndarray) -> np.ndarray:
    """Of each column, whether the outline of track 1 is there."""
    from sentinel_assets.previews.palette import rgb, track_colour

    return np.asarray((np.abs(image.astype(int) - rgb(track_colour(1))).sum(axis=2) < 30).sum(axis=0) > 40)


def test_what_cannot_be_drawn_says_why_and_the_report_is_there(
    upgraded: tuple[dg.DagsterInstance, ArtifactStore], tmp_path: Path
) -> None:
    """The footage is gone; a report with its folder of pictures is still written."""
    instance, store = upgraded
    (tmp_path / "clip.mp4").rename(tmp_path / "clip.txt")
    compared = canary_report(instance, store, "detections-new")
    drawn = pictures(instance, store, compared, {}, count=1)
    assert [picture.height for _, picture in drawn] == [144]  # fields with words alone
    with pytest.raises(StoreRejected, match="cannot be written"):
        write_markdown(tmp_path / "clip.txt" / "poses.md", compared.report, {}, drawn)
    target = tmp_path / "reports" / "poses.md"
    write_markdown(target, compared.report, {"7": "![x](http://y)"}, drawn)
    text = target.read_text()
    assert "![gone theft](poses-pictures/01.webp)" in text
    assert "](http://y)" not in text  # a name is a name
    assert (target.parent / "poses-pictures" / "01.webp").stat().st_size > 0


def test_the_ui_has_the_report_with_its_picture(
    upgraded: tuple[dg.DagsterInstance, ArtifactStore], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a name, of the canary begun last."""
    from sentinel_assets.definitions import definitions

    instance, store = upgraded
    monkeypatch.setenv("DATABASE_URL", database_url)
    graph = definitions(Settings.from_env({"SENTINEL_ARTIFACTS": store.base, "SENTINEL_HOME": store.base}))
    job = graph.resolve_implicit_global_asset_job_def()

    def materialize(on: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
        wanted = [dg.AssetKey("canary_report")]
        return job.execute_in_process(instance=on, asset_selection=wanted, raise_on_error=False)

    with dg.DagsterInstance.local_temp() as empty:
        (nothing,) = materialize(empty).asset_materializations_for_node("canary_report")
        assert "no canary yet" in str(nothing.metadata["report"].value)

    result = materialize(instance)
    assert result.success
    (one,) = result.asset_materializations_for_node("canary_report")
    told = {name: value.value for name, value in one.metadata.items()}
    assert (told["gone"], told["added"], told["unchanged"], told["videos"]) == (1, 1, 1, 1)
    assert told["upgrade"] == "detections-new"
    assert told["agreement"] == pytest.approx(1 / 3, abs=1e-3)
    assert str(told["before_and_after"]).startswith("![what detections-new changed](data:image/webp;base64,")
    assert "| gone |" in str(told["report"])
