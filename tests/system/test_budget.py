"""A budget on a live system: hosts turn out dearer than at the canary, and the rest is left as it is."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sentinel_assets.backfills import BACKFILL, begun
from sentinel_assets.spending import SPENT
from tests.builders.faults import cut
from tests.builders.machine import Machine
from tests.builders.systems import eventually, system

pytestmark = pytest.mark.drill
CANARY, REST = 3, 9
UPGRADED = {"SENTINEL_PROFILE": "permissive", "SENTINEL_SAMPLE_RATE": "2"}
CHEAP, DEAR = ({**UPGRADED, "SENTINEL_HOST_PRICES": f"local/on-demand={usd}"} for usd in (3600, 14400))


def test_no_run_begins_once_the_budget_might_be_exceeded(people: Path, machine: Machine, tmp_path: Path) -> None:
    """A dollar a second at the canary, four for the rest: what waits is taken back once the first runs have told."""
    clips = [tmp_path / f"shop-{number}.mp4" for number in range(CANARY + REST)]
    for number, clip in enumerate(clips):
        cut(people, clip, seconds=2 + number / 8)
    assert machine.run("analyze", *clips, env={"SENTINEL_PROFILE": "permissive"}).returncode == 0
    with system(machine.home, env={"DATABASE_URL": machine.database_url, **CHEAP}), dagster_of(machine) as instance:
        ends(instance, backfill(machine, CHEAP, "--canary", str(CANARY)))
        offer = backfill(machine, CHEAP, "--dry-run", "--approve")
    assert offer["videos"] == REST
    usd, seconds = (offer[name]["value"] for name in ("usd", "seconds"))
    assert 0 < usd <= seconds  # those stages that ran in a job cost a dollar a second, the others nothing
    budget = round(usd + offer["usd"]["margin"] + 0.01, 2)

    with system(machine.home, env={"DATABASE_URL": machine.database_url, **DEAR}), dagster_of(machine) as instance:
        order = backfill(machine, DEAR, "--approve", "--budget", str(budget))
        assert order["videos"] == REST  # at the price of the canary all of them are paid for
        ends(instance, order)
        records = [
            r for one in order["backfills"] for r in instance.get_run_records(dg.RunsFilter(tags={BACKFILL: one}))
        ]
        begun_at = {r.dagster_run.run_id: handed_on_at(instance, r.dagster_run.run_id) for r in records}
    (line, *_) = [x for x in (machine.home / "dagster.log").read_text().splitlines() if "are left as they are" in x]
    spent, stopped_at = re.search(r"\$([\d.]+) of", line), datetime.fromisoformat(line[:25])
    assert spent is not None
    assert f"of ${budget:.4f} are spent" in line
    assert 0 < float(spent[1]) < budget
    of_status = {status: [r for r in records if r.dagster_run.status is status] for status in dg.DagsterRunStatus}
    made, taken_back = of_status[dg.DagsterRunStatus.SUCCESS], of_status[dg.DagsterRunStatus.CANCELED]
    assert len(made) + len(taken_back) == len(records) == REST
    assert taken_back
    handed_on = [begun_at[run.dagster_run.run_id] for run in made]
    assert all(at is not None and at < stopped_at.timestamp() + 1 for at in handed_on)
    told = [float(run.dagster_run.tags[SPENT].split()[0]) for run in made if SPENT in run.dagster_run.tags]
    assert all(usd > 4 for usd in told)  # each a second at least
    stale = json.loads(machine.run("stale", "--json", env=DEAR).stdout)
    left = {one["asset"]: (one["stale"], one["failed"]) for one in stale}
    assert set(left.values()) == {(REST - len(made), 0)}


def handed_on_at(instance: dg.DagsterInstance, run_id: str) -> float | None:
    """When the run was taken from the queue, s since the epoch; its process may be a while in starting."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_STARTING).records
    return records[0].event_log_entry.timestamp if records else None


def dagster_of(machine: Machine) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(machine.home / "dagster"))


def backfill(machine: Machine, env: dict[str, str], *options: str) -> dict[str, Any]:
    done = machine.run("backfill", "detections", "--json", *options, env=env)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def ends(instance: dg.DagsterInstance, order: dict[str, Any]) -> None:
    under_way = lambda: any(one.id in order["backfills"] for one in begun(instance, unfinished=True))  # noqa: E731
    eventually(lambda: not under_way(), "the backfill is over", limit_s=600)
