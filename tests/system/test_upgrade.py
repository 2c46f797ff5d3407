"""One upgrade as a person does it: what is stale, its price, a canary, its report, the rest, and the way back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sentinel_assets.freshness import DEPENDENCIES
from tests.builders.browser import page, seen, shoot, shows_picture
from tests.builders.faults import cut
from tests.builders.machine import Machine
from tests.builders.systems import RunningSystem, eventually, system

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.drill
VIDEOS = 3  # of fewer, no price is told
REPORTED = """{ assetNodeOrError(assetKey: {path: ["canary_report"]}) { ... on AssetNode {
    assetMaterializations(limit: 1) { runId } } } }"""
UPGRADED = {"SENTINEL_SAMPLE_RATE": "2"}


def test_an_upgrade_goes_from_a_canary_to_all_and_back(people: Path, machine: Machine, tmp_path: Path) -> None:
    """Exactly the stale outputs are made, once each; going back makes the rows of before and computes nothing."""
    clips = [tmp_path / f"shop-{number}.mp4" for number in range(1, VIDEOS + 1)]
    for number, clip in enumerate(clips):
        cut(people, clip, seconds=2 + number / 2)
    machine.analyze(*clips)
    before = {clip.name: machine.rows(clip.name) for clip in clips}
    assert stale(machine) == dict.fromkeys(DEPENDENCIES, 0)
    assert stale(machine, UPGRADED) == dict.fromkeys(DEPENDENCIES, VIDEOS)

    with system(machine.home, env={"DATABASE_URL": machine.database_url, **UPGRADED}) as running:
        offer = backfill(machine, "--dry-run")
        assert offer["outputs"] == dict.fromkeys(DEPENDENCIES, VIDEOS)
        assert offer["backfills"] == []
        assert offer["seconds"]["value"] > 0
        canary = backfill(machine, "--canary", "1")
        assert (canary["videos"], len(canary["backfills"])) == (1, 1)
        ends_well(running, 1)
        assert stale(machine, UPGRADED) == dict.fromkeys(DEPENDENCIES, VIDEOS - 1)
        refused = machine.run("backfill", "detections", env=UPGRADED)
        assert refused.returncode == 1
        assert "--approve" in refused.stderr
        report = machine.run("backfill", "detections", "--report", env=UPGRADED)
        assert report.returncode == 0, report.stderr
        assert report.stdout.startswith("1 video, "), report.stdout
        written = tmp_path / "canary.md"
        assert machine.run("backfill", "detections", "--report-file", str(written), env=UPGRADED).returncode == 0
        assert written.read_text().startswith(report.stdout)
        eventually(lambda: running.graphql(REPORTED)["assetNodeOrError"]["assetMaterializations"], "the UI has it too")
        rest = backfill(machine, "--approve")
        assert rest["videos"] == VIDEOS - 1
        ends_well(running, 2)
        assert stale(machine, UPGRADED) == dict.fromkeys(DEPENDENCIES, 0)
        running.settles()
        keys = [str(number) for number in range(1, VIDEOS + 1)]
        made = {asset: [running.times_made(asset, key) for key in keys] for asset in DEPENDENCIES}
        assert made == dict.fromkeys(DEPENDENCIES, [2] * VIDEOS)

    machine.analyze(*clips)
    assert {clip.name: machine.rows(clip.name) for clip in clips} == before
    assert stale(machine) == dict.fromkeys(DEPENDENCIES, 0)


def stale(machine: Machine, env: dict[str, str] | None = None) -> dict[str, int]:
    done = machine.run("stale", "--json", env=env)
    assert done.returncode == 0, done.stderr
    return {one["asset"]: one["stale"] for one in json.loads(done.stdout)}


def backfill(machine: Machine, *options: str) -> dict[str, Any]:
    done = machine.run("backfill", "detections", "--json", *options, env=UPGRADED)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def ends_well(running: RunningSystem, count: int) -> None:
    """So many backfills there are, and each has ended with all of its runs."""
    query = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { status title } } } }"

    def states() -> list[dict[str, Any]]:
        return list(running.graphql(query)["partitionBackfillsOrError"]["results"])

    eventually(
        lambda: [one["status"] for one in states()] == ["COMPLETED_SUCCESS"] * count, f"{count} backfills end", states
    )


def test_an_upgrade_is_driven_in_the_browser(people: Path, machine: Machine, tmp_path: Path) -> None:
    """What is stale, the canary and what it changed are seen there; the rest is redone by the automation, which is
    switched on there, and by it exactly once."""
    clips = [tmp_path / f"shop-{number}.mp4" for number in (1, 2)]
    for clip in clips:
        cut(people, clip, seconds=2)
    with page() as browser:
        machine.analyze(*clips)
        with system(machine.home, env={"DATABASE_URL": machine.database_url, **UPGRADED}) as running:
            assert coverage(browser, running) == {"up_to_date": "0", "stale": "14"}
            backfill(machine, "--canary", "1")
            ends_well(running, 1)
            browser.goto(f"{running.ui}/overview/backfills")
            seen(browser, "sentinel/canary: 1")
            seen(browser, "Success")
            shoot(browser, "canary")
            eventually(lambda: running.graphql(REPORTED)["assetNodeOrError"]["assetMaterializations"], "it is reported")
            browser.goto(f"{running.ui}/assets/canary_report?view=events")
            shoot(browser, "canary_report")
            shoot(browser, "before_and_after", shows_picture(browser, "before_and_after"))
            browser.goto(f"{running.ui}/locations/sentinel/sensors/automatic_upgrades")
            browser.locator("label[class*=formatSwitch]").locator("visible=true").first.click()
            eventually(lambda: not any(stale(machine, UPGRADED).values()), "the automation has redone the rest")
            running.settles()
            assert coverage(browser, running) == {"up_to_date": "14", "stale": "0"}
            made = {(asset, key): running.times_made(asset, key) for asset in DEPENDENCIES for key in ("1", "2")}
            assert made == dict.fromkeys(made, 2)


def coverage(browser: Page, running: RunningSystem) -> dict[str, str]:
    """Outputs of all videos, as the page of `model_coverage` shows them after a click on Materialize."""
    query = """{ assetNodeOrError(assetKey: {path: ["model_coverage"]}) { ... on AssetNode {
        assetMaterializations(limit: 50) { runId } } } }"""

    def made() -> int:
        return len(running.graphql(query)["assetNodeOrError"]["assetMaterializations"])

    before = made()
    browser.goto(f"{running.ui}/assets/model_coverage?view=events")
    browser.get_by_role("button", name="Materialize").locator("visible=true").first.click()
    eventually(lambda: made() > before, "it is made")
    browser.reload()
    seen(browser, "up_to_date")
    shoot(browser, f"coverage-{before}")
    rows = {name: browser.locator("tr", has_text=re.compile(rf"^{name}\s*\d+$")) for name in ("up_to_date", "stale")}
    return {name: row.locator("visible=true").first.inner_text().split()[-1] for name, row in rows.items()}
