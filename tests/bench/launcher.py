"""What the Batch launcher costs a step in time, and a waiting run in memory: `python -m tests.bench.launcher`.

Against a bare subprocess: the same interpreter, the same code location, the same step, with nobody following it. Jobs
start `python -m batch_step.worker` for real, on the local stand-in for Batch, and exchange through a folder. The ways
take turns, so that whatever else the machine does falls on all alike. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from tests.batch_step.runs import Toys, execute_run, reconstructable

STEPS = ("first", "second", "third")  # each does nothing but note that it ran
_CHECKOUT = Path(__file__).resolve().parent.parent.parent
_WAIT_S = 15.0  # of the job that a run worker waits for

Round = dict[str, list[float]]
"""Seconds of each of the steps, by the way in which they ran: bare, reuse="step", reuse="run"."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.launcher", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each way, interleaved")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, also as JSON")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        return _child(*options.child)
    with tempfile.TemporaryDirectory() as folder, _local_batch():
        rounds = measure_steps(Path(folder), 1 if options.quick else options.rounds)
        peaks = measure_memory(Path(folder))
    print(_table(rounds, peaks))
    if options.json:
        figures = {"ratios": ratios(rounds), "seconds": rounds, "peak_mib": peaks}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return None


# Time.


def measure_steps(folder: Path, rounds: int) -> list[Round]:
    return [
        {
            "bare": _bare(folder / f"bare-{number}"),
            "step": _launched(folder / f"step-{number}", "step"),
            "run": _launched(folder / f"run-{number}", "run"),
        }
        for number in range(rounds)
    ]


def _bare(folder: Path) -> list[float]:
    """A process for each step, which loads the definitions, runs the step and ends."""
    took = []
    for step in STEPS:
        began = time.monotonic()
        _start("bare", str(folder), step).wait()
        took.append(time.monotonic() - began)
    return took


def _launched(folder: Path, reuse: str) -> list[float]:
    """A run of all steps in this process; a step lasts until the run goes on to the next."""
    folder.mkdir(parents=True)
    settings = {"channel": str(folder / "channel"), "queue": "gpu", "job_definition": "toy", "reuse": reuse}
    with dg.DagsterInstance.ephemeral(str(folder)) as instance:
        toys = Toys(instance, folder / "outputs", settings, quiet=True)
        began = time.time()
        result = toys.run(*STEPS, ops={step: {} for step in STEPS})
        assert result.success, [str(event.event_specific_data) for event in result.all_events if event.is_failure]
        ends = [_last_word(instance, result.run_id, step) for step in STEPS]
    return [end - start for start, end in zip([began, *ends], ends, strict=False)]


def _last_word(instance: dg.DagsterInstance, run_id: str, step: str) -> float:
    """When this process heard that the step was over: its account is written right before its last event."""
    return max(
        entry.timestamp
        for entry in instance.all_logs(run_id)
        if entry.step_key == step and entry.user_message == "What the step took"
    )


# Memory.


def measure_memory(folder: Path) -> dict[str, float]:
    """Peak resident MiB of a run worker whose step runs in it, and of one that waits for the step's job."""
    peaks = {}
    for way in ("in process", "waiting for a job"):
        home = folder / way.replace(" ", "-")
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        definitions = "local" if way == "in process" else "remote"
        settings = {"channel": str(home / "channel"), "queue": "gpu", "job_definition": "toy"}
        with dg.DagsterInstance.from_config(str(home)) as instance:
            toys = Toys(instance, home / "outputs", settings, definitions)
            run_id = toys.create_run("behaving", {"folder": str(home / "ran"), "sleep_s": _WAIT_S})
        worker = _start("worker", str(home), run_id, definitions)
        peaks[way] = _peak_mib(worker)
    return peaks


def _peak_mib(process: subprocess.Popen[bytes]) -> float:
    """The high-water mark of its resident memory, read until it ends (Linux)."""
    peak = 0.0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        marks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        peak = max([peak, *(int(mark) / 1024 for mark in marks)])
        time.sleep(0.2)
    assert process.returncode == 0
    return peak


# Processes.


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(_CHECKOUT)}
    command = [sys.executable, "-m", "tests.bench.launcher", "--child", *arguments]
    return subprocess.Popen(command, cwd=_CHECKOUT, env=environment, stderr=subprocess.DEVNULL)


def _child(what: str, folder: str, name: str, definitions: str = "local") -> None:
    if what == "worker":
        os.environ["DAGSTER_HOME"] = folder
        execute_run(folder, name, "start", definitions)
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.ephemeral(folder) as instance:
        assert Toys(instance, Path(folder), {}, "local").run(name, ops={name: {}}).success


@contextmanager
def _local_batch() -> Iterator[None]:
    # Not at the top: a bare subprocess and a run worker are to load what they need, and no emulator.
    from infra.local.aws import LocalAws
    from infra.local.batch.settings import BatchSettings
    from tests.batch_step.conftest import fill

    with LocalAws(BatchSettings()) as aws:
        before = dict(os.environ)
        os.environ.update(aws.environment())
        try:
            fill()
            reconstructable("remote").get_definition()  # loaded once, as in a run worker
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def ratios(rounds: Sequence[Round]) -> dict[str, list[float]]:
    """Of each round: a launched step against the round's bare subprocess, the run's first step and each further one."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in rounds:
        bare = statistics.median(one["bare"])
        for way in ("step", "run"):
            found[f"reuse={way}, first step"].append(one[way][0] / bare)
            found[f"reuse={way}, further steps"].append(statistics.median(one[way][1:]) / bare)
    return dict(found)


def _table(rounds: Sequence[Round], peaks: dict[str, float]) -> str:
    lines = ["| a step that does nothing | times a bare subprocess |", "| --- | --- |"]
    for name, values in ratios(rounds).items():
        lines.append(f"| {name} | {statistics.median(values):.2f} [{min(values):.2f}-{max(values):.2f}] |")
    here, waiting = peaks["in process"], peaks["waiting for a job"]
    lines += ["", "| a run worker | peak resident memory |", "| --- | --- |"]
    lines += [f"| {name} | {peak:.0f} MiB |" for name, peak in peaks.items()]
    lines += [
        "",
        f"Waiting takes {waiting / here:.2f} times the memory of running the step: {waiting - here:+.0f} MiB.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
