"""The worker's watch over itself: it stops a step that nobody follows any more, or that runs past its time."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

from batch_step.channel import ERROR, LEASE, Channel
from batch_step.errors import ChannelUnavailable
from batch_step.records import WorkerError

Verdict = Literal["host-silent", "timeout"]
_GRACE_S = 20  # between the interrupt that user code sees and the end of the process


class Guard:
    """While it is entered, reads the host's lease; interrupts this process when it goes silent or time is over.

    Only that the lease CHANGES is looked at, against this machine's monotonic clock: the two clocks need not agree.
    A store that answers late or not at all says nothing about the host: silence is what lies between the end of one
    answered look and the beginning of the next. After `lease_seconds` of it the job says so in its log, and waits
    `resume_seconds` more for a run worker that resumes the run.
    """

    def __init__(
        self,
        channel: Channel,
        lease_seconds: float,
        timeout_seconds: float | None,
        resume_seconds: float,
        exit_code: dict[Verdict, int],
    ) -> None:
        self._channel, self._lease_s, self._resume_s = channel, lease_seconds, resume_seconds
        self._timeout_s, self._exit_code = timeout_seconds, exit_code
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batch-step-guard", daemon=True)
        self.verdict: Verdict | None = None
        self.why = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def _run(self) -> None:
        pause = min(5.0, self._lease_s / 4)
        began = looked = time.monotonic()
        silent, last, told = 0.0, b"", False
        while not self._over.wait(pause):
            asked = time.monotonic()
            if self._timeout_s is not None and asked - began > self._timeout_s:
                return self._stop("timeout", f"the step has run for more than its {self._timeout_s:g} s")
            try:
                beat = self._channel.get(LEASE) or b""
            except ChannelUnavailable:
                looked = time.monotonic()
                continue
            silent = silent + asked - looked if beat == last else 0.0
            looked, last = time.monotonic(), beat
            if silent > self._lease_s + self._resume_s:
                return self._stop("host-silent", f"the run worker has not renewed its lease for {silent:.0f} s")
            if (silent > self._lease_s) is not told:
                told = not told
                wait = (
                    f"the run worker has been silent for {silent:.0f} s; waiting {self._resume_s:g} s for the next one"
                )
                _say(wait if told else "a run worker follows this job again")
        return None

    def _stop(self, verdict: Verdict, why: str) -> None:
        self.verdict, self.why = verdict, why
        _say(f"{why}; stopping this job")
        os.kill(os.getpid(), signal.SIGTERM)
        if not self._over.wait(_GRACE_S):  # user code sits in a call that no interrupt reaches
            with suppress(ChannelUnavailable):  # the exit code says it too
                WorkerError(verdict, why).write(self._channel, ERROR)
            os._exit(self._exit_code[verdict])


def _say(what: str) -> None:
    print(f"batch_step: {what}", flush=True)  # noqa: T201 - the job's log is its output
