"""Dagster's services over the light location, as processes that a test starts, kills and starts again at no cost.

`python -m tests.builders.services FOLDER` imports Dagster once and forks each service that a line of its standard input
asks for: `start code`, `start runner`, `start daemon [POINT]`, `poll NAME`, `kill NAME`. It answers each with a line of
JSON, and kills all when the input ends. The daemon is Dagster's own, with all that it does; at a POINT of a tick of the
sensor `uploads` it kills itself with signal 9, by the means that Dagster has for its own tests of this.
"""

from __future__ import annotations

import ctypes
import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

SETTLED = "SETTLED"
"""The point between two ticks: the first has stored its runs and its cursor, the second has not acknowledged."""
_WORKERS = 3
_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.2


@dataclass
class Services:
    """The test's end of that program."""

    process: subprocess.Popen[str]
    log: Path

    def ask(self, *words: str) -> int | None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.log.read_text()[-4000:]
        given: int | None = json.loads(answer)
        return given

    def start(self, name: str, *point: str) -> None:
        self.ask("start", name, *point)

    def ended(self, name: str) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self.ask("poll", name)

    def kill(self, name: str) -> None:
        self.ask("kill", name)


@contextmanager
def services(folder: Path) -> Iterator[Services]:
    """With the code server and what executes runs, in our environment; `folder` is the DAGSTER_HOME."""
    log = folder / "services.log"
    with log.open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.builders.services", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    made = Services(process, log)
    try:
        made.start("code")
        made.start("runner")
        yield made
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


@dataclass
class _KilledAt(Mapping[str, int]):
    """Dagster asks it at each point of a tick for the signal to end itself with."""

    point: str
    launched: bool = field(default=False)

    def __getitem__(self, key: str) -> int:
        self.launched = self.launched or key == "RUN_LAUNCHED"
        if key == self.point or (self.point == SETTLED and self.launched and key == "TICK_CREATED"):
            return signal.SIGKILL
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter((self.point,))

    def __len__(self) -> int:
        return 1


def run_daemon(folder: Path, point: str | None = None) -> None:
    from dagster._daemon import sensor
    from dagster._daemon.cli import main

    if point is not None:
        sensor.execute_sensor_iteration = functools.partial(
            sensor.execute_sensor_iteration, debug_crash_flags={"uploads": _KilledAt(point)}
        )
    sys.argv = ["dagster-daemon", "run", "-w", str(folder / "workspace.yaml")]
    main()


def serve_code(folder: Path) -> None:
    from dagster._cli import main

    location = ["-m", "tests.builders.light", "--location-name", "light"]
    sys.argv = ["dagster", "api", "grpc", "--socket", str(folder / "code.sock"), *location]
    main()


def run_all(_: Path) -> None:
    """Execute each run that is starting, a few beside each other, until killed."""
    import dagster as dg

    fork = multiprocessing.get_context("fork")
    with dg.DagsterInstance.get() as instance, ProcessPoolExecutor(_WORKERS, fork, _die_with_parent) as workers:
        taken: set[str] = set()
        while True:
            for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING])):
                if run.run_id not in taken:
                    taken.add(run.run_id)
                    workers.submit(_execute, run.run_id)
            time.sleep(_LOOK_S)


def _execute(run_id: str) -> None:
    from dagster._cli.api import _execute_run_command_body

    _execute_run_command_body(run_id, _own_instance(), lambda _: None, False)


@functools.cache
def _own_instance() -> dg.DagsterInstance:
    import dagster as dg

    return dg.DagsterInstance.get()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _main(folder: Path) -> None:
    import dagster._cli.api
    import dagster._daemon.cli  # noqa: F401 - before the forks

    import tests.builders.light  # noqa: F401

    does: dict[str, Callable[..., None]] = {"code": serve_code, "runner": run_all, "daemon": run_daemon}
    living: dict[str, int] = {}
    for line in sys.stdin:
        command, name, *more = line.split()
        answer: int | None = None
        if command == "start":
            living[name] = answer = _fork(functools.partial(does[name], folder, *more))
        elif command == "kill":
            if pid := living.pop(name, None):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        elif name in living:
            pid, status = os.waitpid(living[name], os.WNOHANG)
            if pid:
                living.pop(name)
                answer = os.waitstatus_to_exitcode(status)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in living.values():
        os.kill(pid, signal.SIGKILL)


def _fork(does: Callable[[], None]) -> int:
    if pid := os.fork():
        return pid
    try:
        _die_with_parent()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # standard output is the conversation with the test
        does()
    finally:
        os._exit(1)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
