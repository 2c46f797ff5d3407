"""From an upload to its events without a hand: by the demo, by an AWS client that knows nothing of us, over a crash."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from infra.local import provision
from tests.builders.faults import cut
from tests.builders.systems import (
    SENTINEL,
    RunningSystem,
    alive,
    environment,
    eventually,
    family,
    system,
)

pytestmark = pytest.mark.drill
_AWS_CLI = "awscli==1.46.2"


def uri(key: str) -> str:
    return f"s3://{provision.BUCKET}/{key}"


def made_once(running: RunningSystem, partition: str) -> None:
    """Each stage has been made once for this video. The row is complete a moment before Dagster knows of the last."""
    running.settles()
    for asset in ("detections", "poses", "descriptions", "embeddings", "events"):
        assert running.times_made(asset, partition) == 1, asset


def test_the_demo_goes_the_whole_way_and_leaves_nothing(people: Path, tmp_path: Path) -> None:
    """Events, searches, the time of each part; the second time there is nothing to do; no process is left."""
    home = tmp_path / "home"

    def demo() -> tuple[str, float]:
        began = time.monotonic()
        done = subprocess.run(
            [str(SENTINEL), "demo", str(people)],
            env=environment(home),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr + (home / "dagster.log").read_text()[-4000:]
        return done.stdout, time.monotonic() - began

    first, first_s = demo()
    assert re.search(r"people\.mp4 \(video 1, 00:04\) analysed in \d+\.\d s: 2 events", first)
    assert len(re.findall(r"^\d\d:\d\d-\d\d:\d\d ", first, flags=re.MULTILINE)) == 2
    assert len(re.findall(r"^0\.\d\d\d ", first, flags=re.MULTILINE)) == 4  # two searches, two events each
    parts = re.findall(r"^ +(\d+\.\d) s  (.+)$", first, flags=re.MULTILINE)
    assert [name for _, name in parts][-7:] == [
        "detections",
        "demographics",
        "poses",
        "behaviors",
        "descriptions",
        "embeddings",
        "events",
    ]
    assert 0 < sum(float(seconds) for seconds, _ in parts) <= first_s
    second, second_s = demo()
    assert "was up to date: 2 events" in second
    assert second_s < first_s
    assert not (home / "dev.json").exists()
    eventually(lambda: not alive(home, {}), "all processes end", lambda: alive(home, {}))


def test_a_video_that_cannot_be_analysed_ends_the_demo_with_a_line(tmp_path: Path) -> None:
    """Exit code 1, what is wrong with it, and nothing else."""
    (tmp_path / "text.mp4").write_text("no video\n" * 1000)
    done = subprocess.run(
        [str(SENTINEL), "demo", str(tmp_path / "text.mp4")],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "text.mp4" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def aws_cli() -> Path:
    """The aws CLI from the package index, in a virtual environment of its own that later runs find again."""
    folder = platformdirs.user_cache_path("sentinel") / "tests" / _AWS_CLI.replace("==", "-")
    program = folder / "bin" / "aws"
    if not (folder / "complete").exists():
        commands = ([sys.executable, "-m", "venv", str(folder)], [f"{folder}/bin/pip", "install", "--quiet", _AWS_CLI])
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"the aws CLI cannot be had: {done.stderr[-300:]}")
        (folder / "complete").touch()
    return program


def test_an_ordinary_client_uploads_and_what_was_uploaded_outlives_a_crash(
    aws_cli: Path, people: Path, tmp_path: Path
) -> None:
    """With the line that `sentinel dev` prints and no variable of ours. What a kill -9 interrupted is analysed after,
    what was analysed is not analysed again, and both are still in the bucket."""
    home = tmp_path / "home"
    cut(people, tmp_path / "second.mp4", seconds=2)
    with system(home) as running:
        (line,) = re.findall(r"^ *(AWS_ACCESS_KEY_ID=.*VIDEO.*)$", running.said, flags=re.MULTILINE)

        def upload(video: Path) -> str:
            done = subprocess.run(
                ["sh", "-c", line.replace("VIDEO", str(video))],
                env={"PATH": f"{aws_cli.parent}:{os.defpath}", "HOME": str(tmp_path)},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return uri(video.name)

        first = running.finished(upload(people))
        assert (first.status, first.event_count) == ("completed", 2)
        made_once(running, first.partition_key)
        second = upload(tmp_path / "second.mp4")
        eventually(lambda: (row := running.video(second)) and row.status == "processing", "the analysis begins")
        pids = family(running.process.pid)
        running.stop(signal.SIGKILL)
        eventually(lambda: not alive(home, pids), "all processes end", lambda: alive(home, pids))
    with system(home) as running:
        row = running.finished(second)
        assert row.status == "completed", row.error
        made_once(running, row.partition_key)
        made_once(running, first.partition_key)
        s3 = running.client("s3")
        kept = {one["Key"]: one["Size"] for one in s3.list_objects_v2(Bucket=provision.BUCKET)["Contents"]}
        s3.close()
        assert kept == {video.name: video.stat().st_size for video in (people, tmp_path / "second.mp4")}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A system for several faults, each met by a video of its own."""
    with system(tmp_path_factory.mktemp("home")) as made:
        yield made


def begun(running: RunningSystem, people: Path, tmp_path: Path, name: str, seconds: float) -> str:
    """The address of a video whose first GPU step is under way."""
    cut(people, tmp_path / name, seconds=seconds)
    s3 = running.client("s3")
    s3.upload_file(str(tmp_path / name), provision.BUCKET, name)
    s3.close()

    def at_work() -> bool:
        row = running.video(uri(name))
        return row is not None and row.stage == "detections" and bool(running.processes("batch_step.worker"))

    eventually(at_work, "the first step runs as a job")
    return uri(name)


def is_analysed_exactly_once(running: RunningSystem, address: str) -> None:
    row = running.finished(address)
    assert row.status == "completed", row.error
    assert row.event_count
    made_once(running, row.partition_key)


def test_a_killed_run_worker_costs_nothing(running: RunningSystem, people: Path, tmp_path: Path) -> None:
    """The run is resumed by another worker, which follows the same job."""
    address = begun(running, people, tmp_path, "worker.mp4", 2)
    jobs = running.jobs()
    for pid in running.processes("api execute_run") + running.processes("api resume_run"):
        os.kill(pid, signal.SIGKILL)
    is_analysed_exactly_once(running, address)
    assert running.jobs() == jobs


def test_a_killed_job_is_run_again(running: RunningSystem, people: Path, tmp_path: Path) -> None:
    """Once: the run does not fail."""
    address = begun(running, people, tmp_path, "job.mp4", 2.5)
    for pid in running.processes("batch_step.worker"):
        os.kill(pid, signal.SIGKILL)
    is_analysed_exactly_once(running, address)


def test_a_database_that_is_away_for_twenty_seconds_costs_nothing(
    running: RunningSystem, people: Path, tmp_path: Path
) -> None:
    """Ours and Dagster's at once, in the middle of a step."""
    address = begun(running, people, tmp_path, "database.mp4", 3)
    guardian = json.loads((running.home / "postgres" / "server.json").read_text())["guardian"]
    os.kill(guardian, signal.SIGSTOP)  # or it would start the server again at once
    try:
        for pid, name in family(guardian).items():
            if "-D" in name:
                os.kill(pid, signal.SIGINT)
        time.sleep(20)  # what is held here is that it is away for so long
    finally:
        os.kill(guardian, signal.SIGCONT)
    is_analysed_exactly_once(running, address)
