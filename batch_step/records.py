"""What travels in a channel beside the reference and the events, each as one JSON object."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

from batch_step.channel import Channel, get_json, put_json, put_json_if_absent

# How the worker process ends. Batch shows the code; the classifier reads it where there is no error file.
EXIT_DONE = 0  # the step's final event is in the channel, whatever it says; or this job was not needed
EXIT_HOST_SILENT = 75  # EX_TEMPFAIL: nobody follows this job any more
EXIT_ALREADY_BEGUN = 76  # an earlier attempt of this job began the step and did not finish it
EXIT_REFUSED = 77  # the reference was not accepted: other code, other version
EXIT_TIMED_OUT = 124  # as timeout(1)
EXIT_INTERRUPTED = 143  # 128 + SIGTERM


class Record:
    """Reads and writes itself; unknown fields of a newer writer are ignored."""

    @classmethod
    def read(cls, channel: Channel, key: str) -> Self | None:
        message = get_json(channel, key)
        if message is None:
            return None
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{k: v for k, v in message.items() if k in known})

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    def write(self, channel: Channel, key: str) -> None:
        put_json(channel, key, self.as_json())

    def write_once(self, channel: Channel, key: str) -> bool:
        return put_json_if_absent(channel, key, self.as_json())


@dataclass(frozen=True)
class JobRecord(Record):
    """The Batch job that was submitted for a channel. Times are seconds since the epoch."""

    job_id: str
    queue: str
    submitted_at: float
    adopted: bool = False
    session: str | None = None  # the address of the line of steps, where the job serves several
    slot: int = 0  # the step's place in it
    runs_before: int = 0  # how many runs of the backfill have had the job before this one


@dataclass(frozen=True)
class Execution(Record):
    """The worker that runs the step: at most one for a channel."""

    token: str
    job_id: str
    attempt: int
    started_at: float
    instance_type: str | None = None
    purchase: str | None = None  # "spot" or "on-demand"


@dataclass(frozen=True)
class WorkerError(Record):
    """What the worker knows of a failure.

    `kind`: "user" (the step failed), "setup" (it could not begin), "interrupted", "host-silent", "timeout", "refused",
    "already-begun". `types` are the qualified names of the exception and its causes, outermost first.
    """

    kind: str
    message: str
    types: list[str] = field(default_factory=list)
    permanent: bool = False  # the exception says of itself that trying again cannot help
    spot_notice: bool = False  # EC2 had announced to take the host back


@dataclass(frozen=True)
class Manifest(Record):
    """The last object of a channel. `final` is the type of the step's final event, None where there is none."""

    final: str | None
    chunks: int
    marks: dict[str, float]  # seconds since the epoch: taken, begun, loaded, user_code, user_code_end, uploaded


@dataclass(frozen=True)
class Abandoned(Record):
    """Why the host gave a channel up: the name of the failure class, and what it was concluded from; and what was paid
    for it, USD, None where that is not known."""

    failure: str
    why: str
    job_id: str | None
    host_s: float = 0.0
    cost_usd: float | None = None
