"""`sentinel dev`: everything answers, there is one for a home, its parts come again, and nothing outlives it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest

from infra.local import provision
from sentinel_assets.development import free_port
from tests.builders.systems import SENTINEL, RunningSystem, alive, environment, eventually, family, system

pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc"),
]


def start_a_job(running: RunningSystem) -> int:
    """The process of a Batch job that would go on for ten minutes."""
    batch = running.client("batch")
    batch.submit_job(
        jobName="job",
        jobQueue=provision.BATCH,
        jobDefinition=provision.BATCH,
        containerOverrides={"command": ["sleep", "600.25"]},
    )
    batch.close()
    return int(
        eventually(lambda: [p for p, n in family(running.process.pid).items() if "600.25" in n], "the job runs")[0]
    )


def nothing_is_left(home: Path, pids: dict[int, str]) -> None:
    eventually(lambda: not alive(home, pids), "all processes end", lambda: alive(home, pids))


def test_one_for_a_home_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    """What it prints is where things are; another one says where this one is; nothing is left of it, and no job."""
    home = tmp_path / "home"
    with system(home) as running:
        facts = running.facts
        assert facts["pid"] == running.process.pid
        assert stat.S_IMODE((home / "dev.json").stat().st_mode) == 0o600
        for address in (facts["ui"], facts["database"], *(facts["environment"][n] for n in ("AWS_ENDPOINT_URL",))):
            assert address in running.said
        s3, sqs = running.client("s3"), running.client("sqs")
        assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == [provision.BUCKET]
        assert len(sqs.list_queues()["QueueUrls"]) == 2
        s3.close()
        sqs.close()
        nodes = running.graphql("{ assetNodes { assetKey { path } } }")["assetNodes"]
        assert ["events"] in [node["assetKey"]["path"] for node in nodes]
        password = (home / "postgres" / "password").read_text()
        with psycopg.connect(f"postgresql://sentinel:{password}@{facts['database']}") as connection:
            assert connection.execute("SELECT count(*) FROM videos").fetchone() == (0,)

        second = subprocess.run(
            [str(SENTINEL), "dev"], env=environment(home), capture_output=True, text=True, timeout=120, check=False
        )
        assert second.returncode == 1
        assert f"runs here already: process {running.process.pid}, {facts['ui']}" in " ".join(second.stderr.split())

        start_a_job(running)
        pids = family(running.process.pid)
        assert running.stop(signal.SIGINT) == 0
        assert not (home / "dev.json").exists()
        nothing_is_left(home, pids)


@pytest.mark.parametrize("means", [signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_nothing_is_left_of_it(tmp_path: Path, database_url: str, means: signal.Signals) -> None:
    """After a service manager's SIGTERM and after kill -9; the next one starts, over a database of the user's."""
    home = tmp_path / "home"
    with system(home, env={"DATABASE_URL": database_url}) as running:
        start_a_job(running)
        pids = family(running.process.pid)
        running.stop(means)
        nothing_is_left(home, pids)
    with system(home, "--port", str(free_port()), env={"DATABASE_URL": database_url}) as running:
        assert running.graphql("{ version }")["version"]


def test_a_part_that_dies_comes_again(tmp_path: Path, database_url: str) -> None:
    """The code server, which `dagster dev` would not start again; then the daemon, and the pages."""
    home = tmp_path / "home"
    loaded = "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"

    def works() -> bool:
        from sentinel_assets.vision.errors import StoreUnavailable

        try:
            return "RepositoryLocation" in str(running.graphql(loaded))
        except StoreUnavailable:
            return False

    def of(what: str) -> list[int]:
        return [pid for pid, name in family(running.process.pid).items() if what in name]

    with system(home, env={"DATABASE_URL": database_url}) as running:
        for what in ("dagster api grpc", "dagster._daemon", "dagster_webserver"):
            (before,) = of(what)
            os.kill(before, signal.SIGKILL)
            eventually(lambda what=what, before=before: set(of(what)) - {before}, f"{what} comes again")
        eventually(works, "the pages show our assets again")
        pids = family(running.process.pid)
        assert running.stop() == 0
        nothing_is_left(home, pids)
