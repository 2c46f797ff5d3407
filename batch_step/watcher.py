"""One watcher for all jobs that this process waits for: DescribeJobs by up to 100 ids, slower when Batch says so.

Without it each waiting step would ask for itself, and 100 videos in flight would be 100 calls a second.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from batch_step.jobs import DESCRIBE_LIMIT, ENDED, BatchJobs

_LOG = logging.getLogger(__name__)
_SLOWEST_S = 60.0
# DescribeJobs may not know a job in the first seconds after SubmitJob; later it knows one for 7 days at least.
UNKNOWN_AFTER_S = 30.0


@dataclass
class JobWatch:
    """What is known of one job. `detail` is DescribeJobs' own dictionary, empty at first."""

    job_id: str
    detail: dict[str, Any] = field(default_factory=dict)
    missing_since: float | None = None
    unknown: bool = False
    changed: threading.Event = field(default_factory=threading.Event)

    @property
    def status(self) -> str:
        return "UNKNOWN" if self.unknown else str(self.detail.get("status", "SUBMITTED"))

    @property
    def ended(self) -> bool:
        return self.unknown or self.status in ENDED


class JobWatcher:
    """Asks for all watched jobs in one thread, which lives as long as there are any."""

    def __init__(self, jobs: BatchJobs, every_seconds: float = 5.0, unknown_after: float = UNKNOWN_AFTER_S) -> None:
        self._jobs, self._every_s, self._unknown_after = jobs, every_seconds, unknown_after
        self._lock = threading.Lock()
        self._watches: dict[str, tuple[JobWatch, int]] = {}  # with how many wait for it
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._slowed = 0

    @contextmanager
    def watch(self, job_id: str) -> Iterator[JobWatch]:
        """Keeps the job's state up to date while entered."""
        with self._lock:
            watch, users = self._watches.get(job_id, (JobWatch(job_id), 0))
            self._watches[job_id] = watch, users + 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="batch-step-watcher", daemon=True)
                self._thread.start()
        self._wake.set()
        try:
            yield watch
        finally:
            with self._lock:
                watch, users = self._watches.pop(job_id)
                if users > 1:
                    self._watches[job_id] = watch, users - 1

    def look(self, watch: JobWatch) -> None:
        """Ask for this one now. Where nobody answers it stays as it is."""
        self._ask([watch])

    def end_later(self, job_id: str, grace_seconds: float) -> None:
        """Terminates a job whose step is over if it has not ended by itself in that time. Does not wait for it."""
        threading.Thread(target=self._end, args=(job_id, grace_seconds), name="batch-step-end", daemon=True).start()

    def _end(self, job_id: str, grace_seconds: float) -> None:
        deadline = time.monotonic() + grace_seconds
        with self.watch(job_id) as watch:
            while not watch.ended and time.monotonic() < deadline:
                watch.changed.clear()
                watch.changed.wait(deadline - time.monotonic())
            if watch.ended:
                return
        self._jobs.try_to_terminate(job_id, "batch_step: the step is over but its job is not")

    def _run(self) -> None:
        while True:
            with self._lock:
                waiting = [watch for watch, _ in self._watches.values() if not watch.ended]
                if not self._watches:
                    self._thread = None
                    return
            for start in range(0, len(waiting), DESCRIBE_LIMIT):
                self._ask(waiting[start : start + DESCRIBE_LIMIT])
            if self._slowed:
                time.sleep(self._pause())  # a new job must not undo the back-off
            else:
                self._wake.wait(self._every_s)
            self._wake.clear()
            time.sleep(_GATHER_S)  # runs that start together share one call

    def _pause(self) -> float:
        longest = min(_SLOWEST_S, self._every_s * 2**self._slowed)
        return random.uniform(self._every_s, longest)  # noqa: S311 - spreads processes, guards nothing

    def _ask(self, watches: list[JobWatch]) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            known = self._jobs.describe([w.job_id for w in watches])
        except (ClientError, BotoCoreError) as e:
            self._slowed = min(self._slowed + 1, 6)
            _LOG.info("DescribeJobs: %s; asking again more slowly", e)
            return
        self._slowed = 0
        now = time.monotonic()
        for watch in watches:
            if watch.job_id in known:
                watch.detail, watch.missing_since = known[watch.job_id], None
            else:
                watch.missing_since = watch.missing_since or now
                watch.unknown = now - watch.missing_since > self._unknown_after
            watch.changed.set()


_GATHER_S = 0.05
_WATCHERS: dict[tuple[int, float, float], JobWatcher] = {}
_WATCHERS_LOCK = threading.Lock()


def watcher_of(jobs: BatchJobs, every_seconds: float, unknown_after: float) -> JobWatcher:
    """This process's watcher for those calls at that pace; it keeps `jobs` alive, so that its id stays its own."""
    with _WATCHERS_LOCK:
        key = (id(jobs), every_seconds, unknown_after)
        if key not in _WATCHERS:
            _WATCHERS[key] = JobWatcher(jobs, every_seconds, unknown_after)
        return _WATCHERS[key]
