"""`sentinel dev` as a person starts it: a process, what it prints, and what it leaves in its home."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3.session

from infra.local import provision
from resources.settings import Settings
from resources.warehouse import Video, connect
from sentinel_assets.development import graphql
from sentinel_assets.vision.errors import StoreUnavailable

SENTINEL = Path(sys.executable).with_name("sentinel")
LIMIT_S = 240.0  # generous: two cores may be shared with everything else that the suite runs


@dataclass(frozen=True)
class RunningSystem:
    """A system that works, until `stop` or the end of its context."""

    home: Path
    process: subprocess.Popen[str]
    said: str
    """What it printed."""

    @property
    def facts(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "dev.json").read_text()))

    @property
    def ui(self) -> str:
        return str(self.facts["ui"])

    @property
    def settings(self) -> Settings:
        return Settings.from_env(environment(self.home))

    def client(self, service: str) -> Any:
        """A boto3 client of its AWS."""
        where = self.facts["environment"]
        key = where["AWS_ACCESS_KEY_ID"]
        session = boto3.session.Session(key, where["AWS_SECRET_ACCESS_KEY"], region_name=where["AWS_DEFAULT_REGION"])
        return session.client(service, endpoint_url=where["AWS_ENDPOINT_URL"])

    def graphql(self, query: str, **variables: object) -> dict[str, Any]:
        """The answer to a question. A web server whose database was away refuses one, and answers the next."""
        refusals: list[StoreUnavailable] = []

        def asked() -> dict[str, Any] | None:
            try:
                return graphql(self.ui, query, variables)
            except StoreUnavailable as refusal:
                refusals.append(refusal)
                return None

        return dict(eventually(asked, "the Dagster UI answers", lambda: refusals[-1]))

    def video(self, uri: str) -> Video | None:
        """The row of the video at that address."""
        with connect(self.settings) as warehouse:
            return next((video for video in warehouse.videos() if video.uri == uri), None)

    def finished(self, uri: str) -> Video:
        """That row, once its analysis has ended, in whatever way."""

        def ended() -> Video | None:
            row = self.video(uri)
            return row if row is not None and row.status in ("completed", "failed") else None

        return eventually(ended, f"{uri} is analysed", lambda: (self.home / "dagster.log").read_text()[-4000:])

    def times_made(self, asset: str, partition: str) -> int:
        """How often this asset was materialized for this video."""
        query = """query($path: [String!]!, $keys: [String!]) { assetNodeOrError(assetKey: {path: $path}) {
            ... on AssetNode { assetMaterializations(partitions: $keys, limit: 50) { runId } } } }"""
        found = self.graphql(query, path=[asset], keys=[partition])["assetNodeOrError"]["assetMaterializations"]
        return len(found)

    def jobs(self) -> list[str]:
        """All Batch jobs that there have been, by id."""
        batch, found = self.client("batch"), []
        for status in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"):
            pages = batch.get_paginator("list_jobs").paginate(jobQueue=provision.BATCH, jobStatus=status)
            found += [job["jobId"] for page in pages for job in page["jobSummaryList"]]
        batch.close()
        return sorted(found)

    def processes(self, what: str) -> list[int]:
        """Of this system, those whose command line holds `what`."""
        return [pid for pid, name in family(self.process.pid).items() if what in name]

    def settles(self) -> None:
        """Wait until the queue is empty, and no job and no run is left."""
        sqs, queue = self.client("sqs"), self.facts["environment"]["SENTINEL_UPLOAD_QUEUE"]
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        runs = "{ runsOrError(filter: {statuses: [QUEUED, STARTING, STARTED, CANCELING]}) { ... on Runs { count } } }"

        def left() -> tuple[object, ...]:
            messages = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=counts)["Attributes"]
            workers = self.processes("batch_step.worker") + self.processes("api execute_run")
            return (*(int(n) for n in messages.values()), len(workers), self.graphql(runs)["runsOrError"]["count"])

        eventually(lambda: not any(left()), "nothing is under way", left)
        sqs.close()

    def stop(self, means: signal.Signals = signal.SIGINT) -> int:
        """Its exit code, once it has ended."""
        self.process.send_signal(means)
        self.process.communicate(timeout=120)
        return self.process.returncode


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of a person on a fresh machine."""
    kept = {k: v for k, v in os.environ.items() if k not in ("DAGSTER_HOME", "DATABASE_URL")}
    return {**kept, "SENTINEL_HOME": str(home), "SENTINEL_PROFILE": "cpu", **more}


@contextmanager
def system(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[RunningSystem]:
    """`sentinel dev`, working."""
    process = subprocess.Popen(
        [str(SENTINEL), "dev", *arguments],
        env=environment(home, **(env or {})),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = []
        while line := process.stdout.readline():
            said.append(line)
            if line.startswith("Ctrl-C"):
                break
        assert line, "".join(said) + process.communicate()[1]
        yield RunningSystem(home, process, "".join(said))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=120)


def eventually(
    condition: Callable[[], Any], what: str, otherwise: Callable[[], object] = str, *, limit_s: float = LIMIT_S
) -> Any:
    """What the condition gives, once that is something."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not in {limit_s:.0f} s: {what}\n{otherwise()}"
        time.sleep(0.2)
    return found


def family(pid: int) -> dict[int, str]:
    """The process and all that descend from it: pid to what it is, for messages."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                names[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
            except OSError:
                continue  # it ended while we looked
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {one: names.get(one, "") for one in found}


def alive(home: Path, pids: Mapping[int, str]) -> dict[int, str]:
    """Of these processes, and of those whose command line or environment names this home, the ones that live."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if "\nState:\tZ" in (entry / "status").read_text():
                continue
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if int(entry.name) in pids or str(home).encode() in text:
            found[int(entry.name)] = text[:200].decode(errors="replace")
    return found
