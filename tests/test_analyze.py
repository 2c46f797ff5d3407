"""The main job as a user does it: `sentinel analyze`, twice, killed, two at once, on bad input."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resources.settings import Settings
from resources.warehouse import Warehouse
from tests.builders.faults import BAD_FOOTAGE, cut, slower_than_its_header_says
from tests.builders.machine import SENTINEL, TIMEOUT_S, Machine


@pytest.fixture
def machine(tmp_path: Path, database_url: str) -> Machine:
    return Machine(tmp_path / "home", database_url)


@pytest.fixture(scope="session")
def undisturbed(
    people: Path, tmp_path_factory: pytest.TempPathFactory, fresh_database: Any
) -> Iterator[list[dict[str, Any]]]:
    """The rows of an analysis that nothing interrupted."""
    with fresh_database() as url:
        machine = Machine(tmp_path_factory.mktemp("undisturbed"), url)
        machine.analyze(people)
        yield machine.rows("people.mp4")


def test_a_second_analysis_leaves_the_same_rows_and_makes_nothing_anew(
    machine: Machine, people: Path, undisturbed: list[dict[str, Any]]
) -> None:
    """No duplicate, no change; and `--again` makes all anew with the same result."""
    first, second = machine.analyze(people)[0], machine.analyze(people)[0]
    assert first["made"] == ["detections", "demographics", "poses", "behaviors", "descriptions", "embeddings", "events"]
    assert second["made"] == []
    assert machine.rows("people.mp4") == undisturbed
    assert len(machine.analyze("--again", people)[0]["made"]) == 7
    assert machine.rows("people.mp4") == undisturbed
    assert undisturbed, "a clip of people without an event would hold nothing"


def test_a_killed_analysis_goes_on_to_the_rows_of_an_undisturbed_one(
    machine: Machine, people: Path, undisturbed: list[dict[str, Any]]
) -> None:
    """kill -9 as it is registered, in detections, in poses and late; no half-written row is ever visible."""
    with Warehouse(machine.database_url) as warehouse:
        warehouse.migrate()
        for threshold in (0, 5, 60, 88):
            process = subprocess.Popen(
                [str(SENTINEL), "analyze", str(people)],
                env=machine.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            _wait_for_progress(warehouse, threshold, process)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert warehouse.count_events() in (0, len(undisturbed))
    machine.analyze(people)
    assert machine.rows("people.mp4") == undisturbed
    status = machine.status("people.mp4")
    assert (status["status"], status["analysis_progress"], status["error"]) == ("completed", 100, None)


def _wait_for_progress(warehouse: Warehouse, percent: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        videos = warehouse.videos()
        if videos and videos[0].analysis_progress >= percent:
            return
        time.sleep(0.02)
    assert process.poll() is None, f"ended before it was killed at {percent} %"
    raise AssertionError(f"{percent} % were not reached in {TIMEOUT_S} s")


def test_two_analyses_at_once_do_not_disturb_each_other(
    machine: Machine, people: Path, undisturbed: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Two processes, two videos, one home."""
    copies = [shutil.copy(people, tmp_path / name) for name in ("left.mp4", "right.mp4")]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(machine.analyze, copies))
    assert [r[0]["error"] for r in results] == [None, None]
    assert machine.rows("left.mp4") == machine.rows("right.mp4") == undisturbed


@pytest.fixture(scope="module")
def bad_run(tmp_path_factory: pytest.TempPathFactory, people: Path, fresh_database: Any) -> Iterator[BadRun]:
    """Every kind of bad footage and one good video in one command."""
    folder = tmp_path_factory.mktemp("bad")
    paths = {kind: make(folder / f"bad {number}.mp4") for number, (kind, (make, _)) in enumerate(BAD_FOOTAGE.items())}
    with fresh_database() as url:
        machine = Machine(tmp_path_factory.mktemp("home"), url)
        done = machine.run("analyze", *paths.values(), people)
        yield BadRun(machine, paths, done)


@dataclass(frozen=True)
class BadRun:
    machine: Machine
    paths: Mapping[str, Path]
    done: subprocess.CompletedProcess[str]


@pytest.mark.parametrize("kind", list(BAD_FOOTAGE))
def test_bad_footage_is_one_clear_line_and_the_rows_reason(bad_run: BadRun, kind: str) -> None:
    """What, where and what to do: on stderr, and on the video's row, which counts as failed."""
    path, words = bad_run.paths[kind], BAD_FOOTAGE[kind][1]
    lines = [line for line in bad_run.done.stderr.splitlines() if str(path) in line]
    assert len(lines) == 1, bad_run.done.stderr
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    status = bad_run.machine.status(str(path))
    assert status["status"] == "failed"
    assert f"error: {status['error']}" == lines[0]
    assert status["analysis_progress"] < 100


def test_bad_footage_fails_alone(bad_run: BadRun, undisturbed: list[dict[str, Any]]) -> None:
    """Exit code 1, nothing but those lines on stderr, and the good video of the same command is analysed."""
    assert bad_run.done.returncode == 1
    assert len(bad_run.done.stderr.splitlines()) == len(BAD_FOOTAGE)
    assert bad_run.machine.rows("people.mp4") == undisturbed


def test_a_truncated_video_can_be_analysed_for_what_is_there(machine: Machine, people: Path, tmp_path: Path) -> None:
    """On request, and with a note that it is not all."""
    whole = people.read_bytes()
    broken = tmp_path / "broken.mkv"
    cut(people, broken, seconds=5)
    broken.write_bytes(broken.read_bytes()[: int(len(whole) * 0.7)])
    assert machine.run("analyze", broken).returncode == 1
    result = machine.analyze("--partial", broken)[0]
    assert result["error"] is None
    assert any("truncated" in w or "cannot be read on" in w for w in result["video"]["warnings"])


def test_a_failed_check_is_not_passed_by_when_the_command_is_run_again(machine: Machine, tmp_path: Path) -> None:
    """The table that failed is stored and of today's recipe: that alone must not make it good enough to go on from."""
    strange = slower_than_its_header_says(tmp_path / "strange.mp4")
    for _ in range(2):
        done = machine.run("analyze", strange)
        assert done.returncode == 1
        assert done.stderr.splitlines() == [f"error: {machine.status(str(strange))['error']}"]
        assert "detections: the check times_within_the_video failed" in done.stderr
    assert machine.rows(str(strange)) == []


def test_wrong_weights_are_not_loaded(machine: Machine, people: Path, tmp_path: Path) -> None:
    """A file that is not what the catalogue says: one line that names it, exit code 1, and no event."""
    cache = tmp_path / "weights"
    shutil.copytree(Settings.from_env().weights, cache)
    victim = next(cache.glob("movenet-*"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    done = machine.run("analyze", people, env={"SENTINEL_WEIGHTS": str(cache)})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "sha256 of movenet" in done.stderr
    assert machine.run("models", "verify", env={"SENTINEL_WEIGHTS": str(cache)}).returncode in (0, 1)


@pytest.mark.parametrize(
    "arguments", [["analyze", "{clip}"], ["status"], ["events", "1"], ["search", "someone fell"]], ids=lambda a: a[0]
)
def test_a_database_that_is_down_is_one_line(machine: Machine, people: Path, arguments: list[str]) -> None:
    """Its address without the password, and what to do."""
    done = machine.run(
        *(a.format(clip=people) for a in arguments),
        env={"DATABASE_URL": "postgresql://someone:secret@127.0.0.1:9/none"},
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "127.0.0.1:9/none" in done.stderr
    assert "secret" not in done.stderr + done.stdout
