"""How far the price of `sentinel backfill --dry-run` is from what the backfill then takes: `FOLDER [CANARY]`.

The clips of the folder are analysed, the sampling rate is doubled, a canary of some videos is redone by the whole
system of `sentinel dev`; then the seconds of the rest are estimated, the rest is redone, and both are compared.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg

from infra.local.postgres import LocalPostgres
from sentinel_assets.backfills import begun
from sentinel_assets.freshness import DEPENDENCIES
from tests.builders.machine import Machine
from tests.builders.systems import eventually, system

_UPGRADED = {"SENTINEL_SAMPLE_RATE": "2"}


def main() -> None:
    clips = sorted(Path(sys.argv[1]).glob("*.mp4"))
    canary = int(sys.argv[2]) if len(sys.argv) > 2 else max(3, len(clips) // 2)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(LocalPostgres(home / "postgres").session())
        server.create_database("bench")
        machine = Machine(home / "home", server.url("bench"))
        machine.analyze(*clips)
        stack.enter_context(system(machine.home, env={"DATABASE_URL": machine.database_url, **_UPGRADED}))
        with dg.DagsterInstance.from_config(str(machine.home / "dagster")) as instance:
            _redo(machine, instance, "--canary", str(canary))
            offer = _backfill(machine, "--dry-run", "--approve")
            _redo(machine, instance, "--approve")
            (rest,) = [one for one in begun(instance) if not one.canary]
            took = {asset: sum(_seconds(instance, asset, p) for p in rest.partitions) for asset in DEPENDENCIES}
    estimate, measured = offer["seconds"], sum(took.values())
    print(
        f"{len(rest.partitions)} videos after a canary of {canary}: estimated {estimate['value']:.1f} s ± "
        f"{estimate['margin']:.1f}, measured {measured:.1f} s: {measured / estimate['value'] - 1:+.0%}"
    )


def _backfill(machine: Machine, *options: str) -> dict[str, Any]:
    done = machine.run("backfill", "detections", "--json", *options, env=_UPGRADED)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _redo(machine: Machine, instance: dg.DagsterInstance, *options: str) -> None:
    ids = set(_backfill(machine, *options)["backfills"])
    eventually(lambda: all(one.finished for one in begun(instance) if one.id in ids), "it is redone")


def _seconds(instance: dg.DagsterInstance, asset: str, partition: str) -> float:
    wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition])
    (record,) = instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    metadata = record.asset_materialization.metadata
    return float(str((metadata.get("host_s") or metadata["seconds"]).value))


if __name__ == "__main__":
    main()
