"""What is to be done about messages of uploads: a pure function of what was received, remembered and looked up.

A message is deleted in the tick after the one that decided on it, and only when its run is on record: a tick may be
killed anywhere, and what was not recorded comes again. The receipts travel in the sensor's cursor, which Dagster
records together with the tick's run requests.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from resources.footage import FootageRecord
from resources.upload_queue import Message
from sensors.messages import Upload, read_message

_REMEMBERED = 1000  # messages reported as bad; each comes 5 times, then it is in the dead-letter queue


@dataclass(frozen=True)
class Found:
    """The object as it is now. `modified` orders what was uploaded to one video, s since the epoch."""

    record: FootageRecord
    modified: float


@dataclass(frozen=True)
class Absent:
    """Nothing at that address."""

    reason: str


@dataclass(frozen=True)
class Unknown:
    """S3 did not say: the message comes again."""

    reason: str


Object = Found | Absent | Unknown


@dataclass(frozen=True)
class Receipt:
    """A delivery that is to be deleted: at once in the next tick, or when the run of that key is on record."""

    receipt: str
    run_key: str | None = None


@dataclass(frozen=True)
class Ledger:
    """What one tick leaves to the next: the sensor's cursor."""

    receipts: tuple[Receipt, ...] = ()
    reported: tuple[str, ...] = ()
    """Ids of messages that were reported as bad, the oldest first."""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Self:
        """Empty where there is none, or one that is not ours: whatever it held comes again."""
        try:
            value = json.loads(cursor or "{}")
            return cls(
                tuple(Receipt(receipt, run_key) for receipt, run_key in value.get("receipts", [])),
                tuple(str(name) for name in value.get("reported", [])),
            )
        except (ValueError, TypeError, AttributeError):
            return cls()

    def to_cursor(self) -> str:
        return json.dumps({"receipts": [[r.receipt, r.run_key] for r in self.receipts], "reported": self.reported})

    def deletable(self, runs_on_record: Collection[str]) -> list[str]:
        """The receipts of messages that nothing depends on any more."""
        return [r.receipt for r in self.receipts if r.run_key is None or r.run_key in runs_on_record]


@dataclass(frozen=True)
class PastRun:
    """A run that an upload of this video asked for. `modified` is that of the object it was asked for, `failed` whether
    it is over without a result."""

    run_key: str
    etag: str
    modified: int = 0
    failed: bool = False


@dataclass(frozen=True)
class Start:
    """An analysis to begin: one run over all assets."""

    upload: Upload
    record: FootageRecord
    modified: int
    run_key: str

    @property
    def partition(self) -> str:
        return self.upload.partition


@dataclass(frozen=True)
class Report:
    """A message that a person has to look at, told once; it is left to the queue's redrive policy."""

    message_id: str
    reason: str
    body: str


@dataclass(frozen=True)
class Decision:
    starts: tuple[Start, ...] = ()
    missing: tuple[tuple[Upload, str], ...] = ()
    """Uploads whose object is not there, and why not: their videos have failed."""
    reports: tuple[Report, ...] = ()
    waiting: tuple[str, ...] = ()
    """Reasons why messages were left for another time."""
    ledger: Ledger = field(default_factory=Ledger)


def read_messages(messages: Iterable[Message]) -> dict[str, tuple[Upload, ...]]:
    """The uploads of each message, by its id: what has to be looked up before `decide`."""
    return {message.id: read_message(message.body).uploads for message in messages}


def decide(
    messages: Sequence[Message],
    *,
    ledger: Ledger,
    objects: Mapping[str, Object],
    past: Mapping[str, Sequence[PastRun]],
    refused: Mapping[str, str] | None = None,
) -> Decision:
    """What these messages ask for.

    `objects` is what is at each upload's address now, by URI; `past` are the runs of each partition, the newest first;
    `refused` says, by URI, why the warehouse does not take an object for what its message says it is.
    """
    refused = refused or {}
    newest = _newest(messages, objects, refused)
    starts: dict[str, Start] = {}
    missing: dict[str, tuple[Upload, str]] = {}
    receipts: list[Receipt] = []
    reports: list[Report] = []
    waiting: list[str] = []
    for message in messages:
        content = read_message(message.body)
        faults, keys, waits = list(content.faults), [], False
        for upload in content.uploads:
            there = objects[upload.uri]
            if isinstance(there, Unknown):
                waits = True
                waiting.append(there.reason)
            elif upload.uri in refused:
                faults.append(refused[upload.uri])
            elif isinstance(there, Absent):
                missing.setdefault(upload.uri, (upload, there.reason))
            else:
                chosen, found = newest[upload.partition]
                start = _start(chosen, found, past.get(upload.partition, ()))
                keys.append(start.run_key)
                if all(start.run_key != run.run_key for run in past.get(upload.partition, ())):
                    starts[upload.partition] = start
        if faults:
            reports.append(Report(message.id, "; ".join(faults), message.body))
        elif not waits:
            # Where it asks for several runs, the last stands for all: they are recorded together.
            receipts.append(Receipt(message.receipt, keys[-1] if keys else None))
    new_reports = [report for report in reports if report.message_id not in ledger.reported]
    remembered = (*ledger.reported, *(report.message_id for report in new_reports))[-_REMEMBERED:]
    return Decision(
        starts=tuple(starts.values()),
        missing=tuple(missing.values()),
        reports=tuple(new_reports),
        waiting=tuple(dict.fromkeys(waiting)),
        ledger=Ledger(tuple(receipts), remembered),
    )


def described(report: Report, longest: int = 2000) -> dict[str, Any]:
    """A report as the metadata of an event."""
    return {"message_id": report.message_id, "reason": report.reason, "body": report.body[:longest]}


def _newest(
    messages: Iterable[Message], objects: Mapping[str, Object], refused: Mapping[str, str]
) -> dict[str, tuple[Upload, Found]]:
    """Of each partition the upload that counts: where a video got several objects, the one that came last."""
    newest: dict[str, tuple[Upload, Found]] = {}
    for message in messages:
        for upload in read_message(message.body).uploads:
            there = objects[upload.uri]
            if not isinstance(there, Found) or upload.uri in refused:
                continue
            before = newest.get(upload.partition)
            if before is None or (there.modified, upload.uri) > (before[1].modified, before[0].uri):
                newest[upload.partition] = (upload, there)
            elif before[0].uri == upload.uri and before[0].video_id is None and upload.video_id is not None:
                newest[upload.partition] = (replace(before[0], video_id=upload.video_id), there)
    return newest


def _start(upload: Upload, found: Found, past: Sequence[PastRun]) -> Start:
    """The run for this content: of the same key as the latest run where that had the same content, so that a message
    which comes again asks for nothing. Content that came back after another one, or that somebody uploaded once more
    since its run failed, has a key of its own, by its time."""
    etag, modified = found.record.etag, round(found.modified)
    run_key = f"{upload.partition}:{etag}"
    latest = past[0] if past else None
    if latest and latest.etag == etag and not (latest.failed and modified > latest.modified):
        run_key = latest.run_key
    elif any(run.run_key == run_key for run in past):
        run_key = f"{run_key}:{modified}"
    return Start(upload, found.record, modified, run_key)
