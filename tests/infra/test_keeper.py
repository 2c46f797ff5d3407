"""The parent of the services: each runs, comes again when it dies, and nothing outlives who asked for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="subreapers are Linux's")
_LIMIT_S = 30.0


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def numbers(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(*scripts: str, ready: list[str | None] | None = None) -> subprocess.Popen[bytes]:
        log = str(tmp_path / "log")
        services = [
            {"name": f"service {n}", "command": ["sh", "-c", script], "log": log, "ready": (ready or [None] * 9)[n]}
            for n, script in enumerate(scripts)
        ]
        keeper = subprocess.Popen(
            [sys.executable, "-m", "infra.local.keeper"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        started.append(keeper)
        assert keeper.stdin is not None
        keeper.stdin.write(json.dumps(services).encode() + b"\n")
        keeper.stdin.flush()
        return keeper

    yield begin
    for keeper in started:
        assert keeper.stdin is not None
        assert keeper.stderr is not None
        keeper.stdin.close()
        keeper.wait(_LIMIT_S)
        keeper.stderr.close()


def test_the_end_of_its_input_ends_services_and_their_orphans(tmp_path: Path, start: Any) -> None:
    """Also what was in another session, and had lost its parent before."""
    script = f"echo $$ >> {tmp_path}/services; setsid sh -c 'sleep 600' & echo $! >> {tmp_path}/orphans; exec sleep 600"
    keeper = start(script, script)
    eventually(lambda: len(numbers(tmp_path / "orphans")) == 2)
    pids = numbers(tmp_path / "services") + numbers(tmp_path / "orphans")
    os.kill(numbers(tmp_path / "services")[0], signal.SIGKILL)
    eventually(lambda: len(numbers(tmp_path / "services")) == 3)
    assert is_alive(numbers(tmp_path / "orphans")[0])  # what a service started goes on when the service is restarted
    pids += numbers(tmp_path / "services") + numbers(tmp_path / "orphans")
    keeper.stdin.close()
    assert keeper.wait(_LIMIT_S) == 0
    assert [pid for pid in pids if is_alive(pid)] == []


def test_each_starts_when_the_one_before_is_ready(tmp_path: Path, start: Any) -> None:
    ready = str(tmp_path / "ready")
    start(
        f"sleep 0.5; touch {ready}; exec sleep 600",
        f"test -e {ready} && touch {tmp_path}/in-order; exec sleep 600",
        ready=[ready, None],
    )
    eventually((tmp_path / "in-order").exists)


def test_what_cannot_be_kept_running_ends_all(tmp_path: Path, start: Any) -> None:
    """With the service's name and where it says why."""
    keeper = start("exec sleep 600", f"echo $$ >> {tmp_path}/tries; exit 3")
    assert keeper.wait(_LIMIT_S) == 1
    assert b"service 1 ended 6 times in a row; see" in keeper.stderr.read()
    assert len(numbers(tmp_path / "tries")) == 6


def test_services_end_with_a_killed_keeper(tmp_path: Path, start: Any) -> None:
    keeper = start(f"echo $$ > {tmp_path}/service; exec sleep 600")
    (pid,) = eventually(lambda: numbers(tmp_path / "service"))
    keeper.kill()
    eventually(lambda: not is_alive(pid))
