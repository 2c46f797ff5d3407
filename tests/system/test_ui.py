"""The Dagster UI in a real browser: the graph, a video's page with its pictures, a backfill launched by clicks.

SENTINEL_SCREENSHOTS=folder keeps what is seen, of the sample clip in place of its first seconds: so the pictures of the
README were made.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders.browser import page, seen, shoot, shows_picture
from tests.builders.faults import cut
from tests.builders.machine import Machine
from tests.builders.systems import RunningSystem, eventually, system

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.drill


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with page() as made:
        yield made


@pytest.fixture(scope="module")
def analysed(
    browser: Page, sample_clip: Path, people: Path, tmp_path_factory: pytest.TempPathFactory, fresh_database: Any
) -> Iterator[RunningSystem]:
    """A system whose partitions 1 and 2 are analysed videos."""
    home, clips = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("clips")
    first = clips / "composition.mp4"
    shutil.copy(sample_clip if os.environ.get("SENTINEL_SCREENSHOTS") else people, first)
    cut(people, clips / "shop-2.mp4", seconds=2)
    with fresh_database() as url:
        Machine(home, url).analyze(first, clips / "shop-2.mp4")
        with system(home, env={"DATABASE_URL": url}) as running:
            yield running


def test_the_graph_shows_every_asset(browser: Page, analysed: RunningSystem) -> None:
    """Groups opened, from the video to its events; no dialog lies over it."""
    browser.goto(f"{analysed.ui}/asset-groups")
    seen(browser, "perception")
    browser.keyboard.press("Alt+KeyE")
    for asset in ("video", "detections", "demographics", "poses", "behaviors", "descriptions", "embeddings", "events"):
        seen(browser, asset)
    assert browser.get_by_role("dialog").locator("visible=true").count() == 0
    shoot(browser, "graph")


@pytest.mark.parametrize(
    ("asset", "picture"),
    [("detections", "contact_sheet"), ("behaviors", "timeline")],
)
def test_the_page_of_a_video_shows_its_pictures(
    browser: Page, analysed: RunningSystem, asset: str, picture: str
) -> None:
    """Drawn, whole within the dialog, on a screen of 1280 px."""
    browser.goto(f"{analysed.ui}/assets/{asset}?view=partitions&partition=1")
    seen(browser, "composition.mp4")
    shoot(browser, f"{asset}-partition")
    dialog = shows_picture(browser, picture)
    shoot(browser, picture, dialog)


def test_a_backfill_is_launched_by_clicks(browser: Page, analysed: RunningSystem) -> None:
    """Both videos' events are made again, each in a run, and their rows are the same."""
    count = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { status numPartitions } } } }"

    def backfills() -> list[dict[str, Any]]:
        return list(analysed.graphql(count)["partitionBackfillsOrError"]["results"])

    before = events(analysed)
    assert backfills() == []
    browser.goto(f"{analysed.ui}/assets/events?view=partitions")
    seen(browser, "Materialize…").click()
    browser.get_by_role("button", name="All", exact=True).locator("visible=true").first.click()
    browser.get_by_role("button", name="Launch backfill").click()
    eventually(
        lambda: backfills() == [{"status": "COMPLETED_SUCCESS", "numPartitions": 2}], "the backfill ends", backfills
    )
    after = events(analysed)
    assert after.keys() == before.keys() == {"1", "2"}
    assert all(after[key][0] != before[key][0] for key in after)  # made anew
    assert all(after[key][1] == before[key][1] for key in after)  # from the same, to the same


def events(running: RunningSystem) -> dict[str, tuple[str, str]]:
    """Partition to the run that made its events last, and their data version."""
    query = """query($keys: [String!]) { assetNodeOrError(assetKey: {path: ["events"]}) { ... on AssetNode {
        assetMaterializations(partitions: $keys, limit: 20) { runId partition timestamp tags { key value } } } } }"""
    found: dict[str, tuple[str, str]] = {}
    made = running.graphql(query, keys=["1", "2"])["assetNodeOrError"]["assetMaterializations"]
    for one in sorted(made, key=lambda one: float(one["timestamp"])):
        tags = {tag["key"]: tag["value"] for tag in one["tags"]}
        found[one["partition"]] = (one["runId"], tags["dagster/data_version"])
    return found
