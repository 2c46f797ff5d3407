"""What must not happen to a video: bad footage, wrong weights, a database that is down, each said in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resources.settings import Settings
from sentinel_assets.vision.errors import printable
from tests.builders.faults import BAD_FOOTAGE, cut, slower_than_its_header_says
from tests.builders.machine import Machine


@pytest.fixture(scope="module")
def bad_run(tmp_path_factory: pytest.TempPathFactory, people: Path, fresh_database: Any) -> Iterator[BadRun]:
    """Every kind of bad footage and one good video in one command."""
    folder = tmp_path_factory.mktemp("bad")
    paths = {kind: make(folder / f"bad {number}.mp4") for number, (kind, (make, _)) in enumerate(BAD_FOOTAGE.items())}
    with fresh_database() as url:
        machine = Machine(tmp_path_factory.mktemp("home"), url)
        done = machine.run("analyze", *paths.values(), people)
        rows = {row["uri"]: row for row in json.loads(machine.run("status", "--json").stdout)}
        yield BadRun(machine, paths, done, rows)


@dataclass(frozen=True)
class BadRun:
    machine: Machine
    paths: Mapping[str, Path]
    done: subprocess.CompletedProcess[str]
    rows: Mapping[str, dict[str, Any]]
    """By the video's address."""


@pytest.mark.parametrize("kind", list(BAD_FOOTAGE))
def test_bad_footage_is_one_clear_line_and_the_rows_reason(bad_run: BadRun, kind: str) -> None:
    """What, where and what to do: on stderr, and on the video's row, which counts as failed."""
    path, words = bad_run.paths[kind], BAD_FOOTAGE[kind][1]
    lines = [line for line in bad_run.done.stderr.splitlines() if printable(str(path)) in line]
    assert len(lines) == 1, bad_run.done.stderr
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    status = bad_run.rows[printable(str(path))]
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


@pytest.mark.drill
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
    """A file that is not what the catalogue says: one line that names it, also on the video's row, and no event."""
    cache = tmp_path / "weights"
    shutil.copytree(Settings.from_env().weights, cache)
    victim = next(cache.glob("movenet-*"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    done = machine.run("analyze", people, env={"SENTINEL_WEIGHTS": str(cache)})
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "sha256 of movenet" in done.stderr
    status = machine.status(str(people))
    assert status["status"] == "failed"
    assert done.stderr == f"error: {status['error']}\n"
    assert machine.rows(str(people)) == []


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
