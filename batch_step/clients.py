"""The boto3 clients of this process, and which of their errors may pass. Threads may share clients, not sessions, and
making one costs 50 ms."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from batch_step.waiting import delays, wait

THROTTLED = ("TooManyRequestsException", "ThrottlingException", "Throttling", "RequestLimitExceeded", "SlowDown")

T = TypeVar("T")

_LOCK = threading.Lock()
_CLIENTS: dict[tuple[str | None, ...], Any] = {}
_PLACE = ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE")


def client(service: str, *, attempts: int = 6, answer_seconds: float = 30) -> Any:
    """The client of `service` for the environment as it is now. `attempts=1` switches boto's own retries off; each
    waits at most `answer_seconds` for an answer."""
    import boto3
    from botocore.config import Config

    key = (service, str(attempts), str(answer_seconds), str(os.getpid()), *(os.environ.get(name) for name in _PLACE))
    with _LOCK:
        if key not in _CLIENTS:
            config = Config(
                retries={"mode": "standard", "total_max_attempts": attempts},
                connect_timeout=min(10, answer_seconds),
                read_timeout=answer_seconds,
                max_pool_connections=50,  # threads that share it; boto's default of 10 would make them wait
            )
            _CLIENTS[key] = boto3.session.Session().client(service, config=config)
        return _CLIENTS[key]


def may_pass(error: Exception) -> bool:
    """Whether the same call may go well later: throttled, an error of the service, or no answer at all."""
    from botocore import exceptions as boto

    if isinstance(error, boto.ClientError):
        return error.response["Error"]["Code"] in THROTTLED or http_status(error) >= 500
    return isinstance(error, (boto.ConnectionError, boto.HTTPClientError, boto.CredentialRetrievalError))


def http_status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def patiently(call: Callable[[], T], patience_s: float, pause: Callable[[float], object] = wait) -> T:
    """What `call` returns; it is made again while its error may pass, for so long. Raises what boto3 raised last."""
    from botocore.exceptions import BotoCoreError, ClientError

    for delay in delays(patience_s):
        try:
            return call()
        except (BotoCoreError, ClientError) as e:
            if not may_pass(e):
                raise
        pause(delay)
    return call()
