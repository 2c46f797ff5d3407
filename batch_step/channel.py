"""Where the run worker (host) and the GPU job (worker) exchange bytes: an S3 prefix or a folder, of one layout.

    reference.json          what to run; written once by the host
    claims/000000.json      which run worker may act on the step; the highest number may
    lease.json              beaten by that run worker; the job stops when it goes silent
    job.json                the Batch job that was submitted for it
    execution.json          the job that runs it, written once by the worker: user code runs once in a channel
    events/00000000.json    event log entries, in numbered objects (S3 cannot append, and rewriting is quadratic)
    error.json              what the worker knows of a failure
    manifest.json           the last object: how it ended, how many chunks there are, the timeline
    abandoned.json          the host's verdict on a job that ended without a final event

`put_if_absent` is the one operation that everything else relies on to happen once.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from batch_step import clients
from batch_step.errors import ChannelUnavailable
from batch_step.waiting import PATIENCE_S, wait

REFERENCE = "reference.json"
LEASE = "lease.json"
JOB = "job.json"
EXECUTION = "execution.json"
ERROR = "error.json"
MANIFEST = "manifest.json"
ABANDONED = "abandoned.json"


def chunk_key(number: int) -> str:
    return f"events/{number:08d}.json"


def claim_key(number: int) -> str:
    return f"claims/{number:06d}.json"


def slot_key(number: int) -> str:
    """The place in the line of steps that a shared job serves."""
    return f"slots/{number:06d}.json"


def path_part(text: str) -> str:
    """`text` as one part of a key. Dynamic step keys hold brackets; a digest keeps apart what escaping makes alike."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", text)
    return plain if plain == text else f"{plain}-{sha256(text.encode()).hexdigest()[:8]}"


class Channel(Protocol):
    """Small objects under one address. All methods raise ChannelUnavailable when the store does not answer for long."""

    uri: str

    def put(self, key: str, data: bytes) -> None: ...

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Whether this call created the object; of callers that race, one is told True.

        `data` must differ between callers.
        """
        ...

    def get(self, key: str) -> bytes | None: ...

    def hasty(self, seconds: float) -> Channel:
        """The same place for what is soon written anew anyway: one try each, given up after `seconds`."""
        ...


class FolderChannel:
    """A folder that both sides see: one machine, or a shared file system."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._root = Path(self.uri)

    def put(self, key: str, data: bytes) -> None:
        target = self._root / key
        try:
            temporary = self._write_beside(target, data)
            temporary.replace(target)
        except OSError as e:
            raise ChannelUnavailable(str(e), where=target) from e

    def put_if_absent(self, key: str, data: bytes) -> bool:
        target = self._root / key
        try:
            temporary = self._write_beside(target, data)
            try:
                os.link(temporary, target)  # atomic, and the object is whole from its first moment
            except FileExistsError:
                return False
            finally:
                temporary.unlink()
        except OSError as e:
            raise ChannelUnavailable(str(e), where=target) from e
        return True

    def get(self, key: str) -> bytes | None:
        try:
            return (self._root / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            raise ChannelUnavailable(str(e), where=self._root / key) from e

    def hasty(self, seconds: float) -> FolderChannel:
        return self  # a file system has no time limits to set

    @staticmethod
    def _write_beside(target: Path, data: bytes) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        return Path(name)


class S3Channel:
    """An S3 prefix. Needs s3:GetObject, s3:PutObject, and s3:ListBucket (without it a missing key answers 403)."""

    def __init__(
        self,
        uri: str,
        client: Any = None,
        patience_s: float = PATIENCE_S,
        pause: Callable[[float], object] = wait,
    ) -> None:
        self.uri = uri.rstrip("/")
        self._bucket, _, self._prefix = self.uri.removeprefix("s3://").partition("/")
        self._client = client or clients.client("s3")
        self._patience_s, self._pause = patience_s, pause

    def put(self, key: str, data: bytes) -> None:
        self._call("put_object", key, Body=data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        # 409: a concurrent conditional write was in flight and may yet fail, so who won is known only by asking again.
        # 412 may be the echo of our own write whose answer was lost: contents name their author, so compare them.
        for _ in range(_CONFLICT_TRIES):
            code = self._call("put_object", key, expected=("PreconditionFailed", _CONFLICT), Body=data, IfNoneMatch="*")
            if code != _CONFLICT:
                return code == "" or self.get(key) == data
        raise ChannelUnavailable("conditional writes keep conflicting", where=f"{self.uri}/{key}")

    def get(self, key: str) -> bytes | None:
        found: list[bytes] = []
        self._call("get_object", key, expected=("NoSuchKey", "404"), read=found.append)
        return found[-1] if found else None

    def hasty(self, seconds: float) -> S3Channel:
        return S3Channel(self.uri, clients.client("s3", attempts=1, answer_seconds=seconds), patience_s=0)

    def _call(
        self,
        operation: str,
        key: str,
        expected: tuple[str, ...] = (),
        read: Callable[[bytes], object] | None = None,
        **parameters: Any,
    ) -> str:
        """The error code if it is an expected one, "" when the call went well."""
        from botocore.exceptions import BotoCoreError, ClientError

        def call() -> None:
            answer = getattr(self._client, operation)(Bucket=self._bucket, Key=f"{self._prefix}/{key}", **parameters)
            if read is not None:
                read(bytes(answer["Body"].read()))

        try:
            clients.patiently(call, self._patience_s, self._pause)
        except ClientError as e:
            code = str(e.response["Error"]["Code"])
            if code in expected:
                return code
            raise ChannelUnavailable(str(e), where=f"{self.uri}/{key}") from e
        except BotoCoreError as e:
            raise ChannelUnavailable(str(e), where=f"{self.uri}/{key}") from e
        return ""


_CONFLICT = "ConditionalRequestConflict"
_CONFLICT_TRIES = 5


def open_channel(uri: str) -> Channel:
    """The channel at `s3://bucket/prefix` or at a folder's absolute path."""
    if uri.startswith("s3://"):
        return S3Channel(uri)
    if "://" in uri or not Path(uri).is_absolute():
        raise ValueError(f"channel {uri!r}: give s3://bucket/prefix or the absolute path of a folder")
    return FolderChannel(uri)


def put_json(channel: Channel, key: str, message: dict[str, Any]) -> None:
    channel.put(key, json.dumps(message, separators=(",", ":")).encode())


def put_json_if_absent(channel: Channel, key: str, message: dict[str, Any]) -> bool:
    return channel.put_if_absent(key, json.dumps(message, separators=(",", ":")).encode())


def get_json(channel: Channel, key: str) -> dict[str, Any] | None:
    data = channel.get(key)
    return None if data is None else dict(json.loads(data))
