"""One upgrade as a person does it: what is stale, its price, a canary, its report, the rest, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentinel_assets.freshness import DEPENDENCIES
from tests.builders.faults import cut
from tests.builders.machine import Machine
from tests.builders.systems import RunningSystem, eventually, system

pytestmark = pytest.mark.drill
VIDEOS = 3  # of fewer, no price is told
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
        assert report.stdout.startswith("1 videos, "), report.stdout
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
