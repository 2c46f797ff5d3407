"""A run that a person terminates in the UI takes its job along: webserver, code server, run worker and job for real."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.batch_step.conftest import CHECKOUT
from tests.batch_step.runs import MODULE, Toys, ran

INSTANCE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}  # there is no daemon here
"""
LAUNCH = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } ... on InvalidSubsetError { message } } }
"""
TERMINATE = "mutation ($id: String!) { terminateRun(runId: $id) { __typename } }"
REPOSITORIES = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


@dataclass
class Webserver:
    address: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/graphql", body, kind)  # noqa: S310 - our own loopback address
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            said = json.load(answer)
        assert "errors" not in said, said
        return dict(said["data"])


def wait(what: Callable[[], Any], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.3)
    raise AssertionError("waited in vain")


@pytest.fixture
def webserver(toys: Toys, tmp_path: Path) -> Iterator[Webserver]:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "dagster_webserver",
        "-m",
        MODULE,
        "-a",
        "remote",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(CHECKOUT)}
    with (tmp_path / "webserver.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        server = Webserver(f"http://127.0.0.1:{port}")

        def answers() -> bool:
            assert process.poll() is None, (tmp_path / "webserver.log").read_text()
            try:
                return "version" in server.ask("{ version }")
            except (urllib.error.URLError, ConnectionError):
                return False

        try:
            wait(answers)
            yield server
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.mark.drill
def test_terminating_a_run_over_graphql_terminates_its_job(webserver: Webserver, toys: Toys, tmp_path: Path) -> None:
    config = {
        "resources": {
            "gpu": {"config": toys.settings},
            "io_manager": {"config": {"base": str(toys.outputs)}},
        },
        "ops": {"behaving": {"config": {"folder": str(tmp_path / "ran"), "sleep_s": 300}}},
    }
    (repository,) = webserver.ask(REPOSITORIES)["repositoriesOrError"]["nodes"]
    selector = {
        "repositoryLocationName": repository["location"]["name"],
        "repositoryName": repository["name"],
        "pipelineName": "__ASSET_JOB",
        "assetSelection": [{"path": ["behaving"]}],
    }
    launched = webserver.ask(LAUNCH, params={"selector": selector, "runConfigData": config, "mode": "default"})
    assert launched["launchRun"]["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["launchRun"]["run"]["runId"]
    wait(lambda: ran(tmp_path / "ran"))

    assert webserver.ask(TERMINATE, id=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    job = wait(lambda: next((job for job in toys.jobs() if job["status"] == "FAILED"), None))
    assert job["statusReason"] == f"Dagster run {run_id} was terminated"
    canceled = dg.DagsterRunStatus.CANCELED.value
    wait(lambda: webserver.ask(STATUS, id=run_id)["runOrError"]["status"] == canceled)
    assert ran(tmp_path / "ran") == {"behaving": 1}
    assert len(toys.jobs()) == 1
