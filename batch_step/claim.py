"""Which run worker may act on a channel. A run may have two for a while: the one that Dagster's monitor believes dead,
and the one that resumes the run.

Claims are numbered and each is created once, so there is a newest one and its owner is the one who may act. The owner
beats a lease. Others wait until it gives the claim back, is known to be dead, or stays silent for `takeover_seconds`.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from batch_step.channel import LEASE, Channel, claim_key, get_json, put_json, put_json_if_absent
from batch_step.errors import ChannelUnavailable, Superseded


@dataclass(frozen=True)
class Owner:
    """A process, so that another one on the same kernel can tell whether it still lives."""

    token: str
    kernel: str
    pid: int

    @classmethod
    def here(cls) -> Owner:
        return cls(uuid4().hex, _kernel(), os.getpid())

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Owner:
        return cls(str(message["token"]), str(message["kernel"]), int(message["pid"]))

    def is_dead(self) -> bool:
        """True only when that is certain."""
        if self.kernel != _kernel():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return _is_zombie(self.pid)


class Claim:
    """`try_take` until it says True, then enter: the lease is beaten from then on, and given back at the end."""

    def __init__(self, channel: Channel, beat_seconds: float, takeover_seconds: float) -> None:
        self._channel, self._beat_s, self._takeover_s = channel, beat_seconds, takeover_seconds
        # A beat that hangs must not keep the next one back: to the job, the host would be silent.
        self._hasty = channel.hasty(beat_seconds)
        self._owner = Owner.here()
        self._seen: tuple[int, bytes] = (-1, b"")
        self._seen_at = 0.0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.superseded = threading.Event()
        self.number = -1

    @property
    def is_first(self) -> bool:
        """Whether nobody has acted on this channel before."""
        return self.number == 0

    def try_take(self) -> bool:
        """One try, without waiting."""
        newest = max(self._seen[0], -1)
        while self._channel.get(claim_key(newest + 1)) is not None:
            newest += 1
        if newest >= 0 and not self._is_free(newest):
            return False
        if put_json_if_absent(self._channel, claim_key(newest + 1), vars(self._owner)):
            self.number = newest + 1
            return True
        return False

    def require(self) -> None:
        """Raises Superseded when another run worker has taken over."""
        if self.superseded.is_set():
            raise Superseded("another run worker has taken this step over", where=self._channel.uri)

    def _is_free(self, number: int) -> bool:
        lease = self._channel.get(LEASE) or b""
        if (number, lease) != self._seen:
            self._seen, self._seen_at = (number, lease), time.monotonic()
        message = get_json(self._channel, LEASE)
        if message is not None and message["claim"] == number and message["released"]:
            return True
        holder = get_json(self._channel, claim_key(number))
        if holder is not None and Owner.from_message(holder).is_dead():
            return True
        return time.monotonic() - self._seen_at > self._takeover_s

    def __enter__(self) -> Self:
        self._beat(self._channel, 0)
        self._thread = threading.Thread(target=self._run, name="batch-step-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if not self.superseded.is_set():
            with suppress(ChannelUnavailable):  # who waits for it finds it silent in a while; the step may be over
                self._beat(self._hasty, -1, released=True)

    def _run(self) -> None:
        beat = 0
        while not self._over.wait(self._beat_s):
            beat += 1
            try:
                if self._hasty.get(claim_key(self.number + 1)) is not None:
                    self.superseded.set()
                    return
                self._beat(self._hasty, beat)
            except ChannelUnavailable:
                continue  # the worker counts only answered silence

    def _beat(self, channel: Channel, beat: int, *, released: bool = False) -> None:
        put_json(channel, LEASE, {"claim": self.number, "beat": beat, "released": released, "token": self._owner.token})


def _kernel() -> str:
    """Names the set of process ids that this process sees: host, boot and process namespace."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [socket.gethostname()]
    if boot.exists():
        parts += [boot.read_text().strip(), str(namespace.readlink())]
    return "/".join(parts)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
