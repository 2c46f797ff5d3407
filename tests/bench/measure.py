"""What a piece of work costs, measured in a process of its own: CPU seconds, wall seconds, peak memory.

Only ratios of measurements that took turns in one run are to be trusted: on a shared machine wall time between two runs
differs by more than what is to be shown. Libraries are held to one thread each, since threads that wait in a loop count
as work.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_LOOK_S = 0.02  # between two looks at the memory in use


@dataclass(frozen=True)
class Cost:
    """`cpu_s` user and system seconds of the whole process while the work ran, imports not counted; `grown_mb` by how
    much its memory was larger at the most than before."""

    cpu_s: float
    wall_s: float
    grown_mb: float
    result: Any


@dataclass(frozen=True)
class Ratio:
    """`over` / `under`, pair by pair in the order in which they were measured."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, over: Sequence[float], under: Sequence[float]) -> Ratio:
        pairs = [a / b for a, b in zip(over, under, strict=True)]
        return cls(statistics.median(pairs), min(pairs), max(pairs))

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.least:.2f}-{self.most:.2f}]"


def measure(function: str, *arguments: Any, environment: Mapping[str, str] | None = None) -> Cost:
    """The cost of `module:function` called with these arguments, which travel as JSON, as does its result."""
    command = [sys.executable, "-m", "tests.bench.measure", function, json.dumps(arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **ONE_THREAD, **(environment or {})}
    )
    if done.returncode:
        raise RuntimeError(f"{function}: {done.stderr.strip()}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def take_turns(rounds: int, *work: tuple[str, tuple[Any, ...]]) -> list[list[Cost]]:
    """The costs of each piece of work, `rounds` of them, measured in turn: A B C A B C ..."""
    costs: list[list[Cost]] = [[] for _ in work]
    for _ in range(rounds):
        for mine, (function, arguments) in zip(costs, work, strict=True):
            mine.append(measure(function, *arguments))
    return costs


class _Memory:
    """Looks at this process's memory every few milliseconds; the kernel's own peak would count the imports."""

    def __enter__(self) -> _Memory:
        self.before = self.most = _resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_S):
            self.most = max(self.most, _resident())


def _resident() -> int:
    """Bytes of this process that are in memory (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - read fifty times a second
        return int(statm.read().split()[1]) * resource.getpagesize()


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _main(function: str, arguments: str) -> None:
    module, _, name = function.partition(":")
    work = getattr(importlib.import_module(module), name)
    with _Memory() as memory:
        cpu, wall = _cpu_s(), time.perf_counter()
        result = work(*json.loads(arguments))
        cpu, wall = _cpu_s() - cpu, time.perf_counter() - wall
    grown = (memory.most - memory.before) / 2**20
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "grown_mb": grown, "result": result}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
