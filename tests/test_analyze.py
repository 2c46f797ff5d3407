"""The main job as a user does it: `sentinel analyze`, twice, killed, two at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from resources.warehouse import Warehouse
from tests.builders.machine import SENTINEL, TIMEOUT_S, Machine


def test_a_second_analysis_leaves_the_same_rows_and_makes_nothing_anew(
    machine: Machine, people: Path, undisturbed: list[dict[str, Any]]
) -> None:
    """No duplicate, no change; a damaged table is made again, `--again` makes all, with the same result."""
    first, second = machine.analyze(people)[0], machine.analyze(people)[0]
    assert first["made"] == ["detections", "demographics", "poses", "behaviors", "descriptions", "embeddings", "events"]
    assert second["made"] == []
    assert machine.rows("people.mp4") == undisturbed
    poses = machine.home / "artifacts" / "poses" / f"{first['video']['id']}.parquet"
    poses.write_bytes(b"garbage")
    assert machine.analyze(people)[0]["made"] == ["poses", "behaviors", "descriptions", "embeddings", "events"]
    assert machine.rows("people.mp4") == undisturbed
    assert len(machine.analyze("--again", people)[0]["made"]) == 7
    assert machine.rows("people.mp4") == undisturbed
    assert undisturbed, "a clip of people without an event would hold nothing"


@pytest.mark.drill
def test_a_killed_analysis_goes_on_to_the_rows_of_an_undisturbed_one(
    machine: Machine, people: Path, undisturbed: list[dict[str, Any]]
) -> None:
    """Ctrl-C in detections, kill -9 as it is registered, in poses and late; no half-written row is ever visible."""
    with Warehouse(machine.database_url) as warehouse:
        warehouse.migrate()
        for threshold, means in ((0, signal.SIGKILL), (5, signal.SIGINT), (60, signal.SIGKILL), (88, signal.SIGKILL)):
            process = subprocess.Popen(
                [str(SENTINEL), "analyze", str(people)],
                env=machine.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            _wait_for_progress(warehouse, threshold, process)
            os.killpg(process.pid, means)
            said = process.communicate()[1]
            if means == signal.SIGINT:
                assert (process.returncode, said.strip()) == (130, "Interrupted. Run the same command again to go on.")
                assert warehouse.videos()[0].error == "interrupted; run the same command again"
            assert warehouse.count_events() in (0, len(undisturbed))
    machine.analyze(people)
    assert machine.rows("people.mp4") == undisturbed
    status = machine.status("people.mp4")
    assert (status["status"], status["analysis_progress"], status["error"]) == ("completed", 100, None)


def _wait_for_progress(warehouse: Warehouse, percent: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        videos = warehouse.videos()
        if videos and videos[0].analysis_progress >= percent:
            return
        time.sleep(0.02)
    assert process.poll() is None, f"ended before it was killed at {percent} %"
    raise AssertionError(f"{percent} % were not reached in {TIMEOUT_S} s")


@pytest.mark.drill
def test_two_analyses_at_once_do_not_disturb_each_other(
    machine: Machine, people: Path, undisturbed: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Two processes, two videos, one home."""
    copies = [shutil.copy(people, tmp_path / name) for name in ("left.mp4", "right.mp4")]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(machine.analyze, copies))
    assert [r[0]["error"] for r in results] == [None, None]
    assert machine.rows("left.mp4") == machine.rows("right.mp4") == undisturbed
