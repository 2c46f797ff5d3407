"""How far the price of `sentinel backfill --dry-run` is from what it then takes: `FOLDER [CANARY [RATE ...]]`.

The clips of the folder are analysed. For each sampling rate (default: 2, 3 and 1.5 a second) a canary of some videos is
redone by the whole system of `sentinel dev`; then the seconds of the rest are estimated, the rest is redone, and both
are compared.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from infra.local.postgres import LocalPostgres
from sentinel_assets.backfills import begun
from sentinel_assets.freshness import DEPENDENCIES
from sentinel_assets.prices import SAMPLE, read_histories
from tests.builders.machine import Machine
from tests.builders.systems import eventually, system

_LIMIT_S = 3600.0
_RATES = ("2", "3", "1.5")


@dataclass(frozen=True)
class Upgrade:
    """One sampling rate: what the rest after its canary was to take and took, seconds."""

    rate: str
    videos: int
    estimated: float
    margin: float
    took: dict[str, float]

    @property
    def measured(self) -> float:
        return sum(self.took.values())

    def __str__(self) -> str:
        return (
            f"| {self.rate} | {self.videos} | {self.estimated:.1f} ± {self.margin:.1f} | {self.measured:.1f} "
            f"| {self.measured / self.estimated - 1:+.0%} |"
        )


def main() -> None:
    clips = sorted(Path(sys.argv[1]).glob("*.mp4"))[:SAMPLE]
    canary = int(sys.argv[2]) if len(sys.argv) > 2 else max(3, len(clips) // 2)
    print(
        "| frames a second | videos after the canary | estimated, s | measured, s | off by |",
        "| --- " * 5 + "|",
        sep="\n",
    )
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(LocalPostgres(home / "postgres").session())
        server.create_database("bench")
        machine = Machine(home / "home", server.url("bench"))
        machine.analyze(*clips)
        for rate in sys.argv[3:] or _RATES:
            print(upgrade_to(rate, machine, canary), flush=True)


def upgrade_to(rate: str, machine: Machine, canary: int) -> Upgrade:
    env = {"SENTINEL_SAMPLE_RATE": rate}

    def backfill(*options: str) -> dict[str, Any]:
        done = machine.run("backfill", "detections", "--json", *options, env=env)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def redo(*options: str) -> set[str]:
        ids = set(backfill(*options)["backfills"])
        under_way = lambda: any(one.id in ids for one in begun(instance, unfinished=True))  # noqa: E731
        eventually(lambda: not under_way(), "it is redone", limit_s=_LIMIT_S)
        return ids

    with (
        system(machine.home, env={"DATABASE_URL": machine.database_url, **env}),
        dg.DagsterInstance.from_config(str(machine.home / "dagster")) as instance,
    ):
        redo("--canary", str(canary))
        estimate = backfill("--dry-run", "--approve")["seconds"]
        ids = redo("--approve")
        rest = frozenset[str]().union(*(one.partitions for one in begun(instance) if one.id in ids))
        measured = read_histories(instance, dict.fromkeys(DEPENDENCIES, ()), dict.fromkeys(rest, 1.0))
        took = {asset: sum(one.seconds for one in history.measures) for asset, history in measured.items()}
    return Upgrade(rate, len(rest), estimate["value"], estimate["margin"], took)


if __name__ == "__main__":
    main()
