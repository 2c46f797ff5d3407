"""The worker's watch over itself: it stops a step that nobody follows any more, or that runs past its time."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import TracebackType
from typing import Literal, Self

from batch_step.channel import LEASE, Channel
from batch_step.errors import ChannelUnavailable

Verdict = Literal["host-silent", "timeout"]
_GRACE_S = 20  # between the interrupt that user code sees and the end of the process


class Guard:
    """While it is entered, reads the host's lease; interrupts this process when it goes silent or time is over.

    Only that the lease CHANGES is looked at, against this machine's monotonic clock: the two clocks need not agree.
    A store that does not answer says nothing about the host, so such times do not count as silence.
    """

    def __init__(
        self, channel: Channel, lease_seconds: float, timeout_seconds: float | None, exit_code: dict[Verdict, int]
    ) -> None:
        self._channel, self._lease_s, self._timeout_s, self._exit_code = (
            channel,
            lease_seconds,
            timeout_seconds,
            exit_code,
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batch-step-guard", daemon=True)
        self.verdict: Verdict | None = None

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
        silent, last = 0.0, b""
        while not self._over.wait(pause):
            now = time.monotonic()
            if self._timeout_s is not None and now - began > self._timeout_s:
                return self._stop("timeout", f"the step has run for more than {self._timeout_s:.0f} s")
            try:
                beat = self._channel.get(LEASE) or b""
            except ChannelUnavailable:
                looked = now
                continue
            silent = silent + now - looked if beat == last else 0.0
            looked, last = now, beat
            if silent > self._lease_s:
                return self._stop("host-silent", f"the run worker has not renewed its lease for {silent:.0f} s")
        return None

    def _stop(self, verdict: Verdict, why: str) -> None:
        self.verdict = verdict
        print(f"batch_step: {why}; stopping this job", flush=True)  # noqa: T201 - the job's log is its output
        os.kill(os.getpid(), signal.SIGTERM)
        if not self._over.wait(_GRACE_S):
            os._exit(self._exit_code[verdict])  # user code sits in a call that no interrupt reaches
