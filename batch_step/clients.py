"""The boto3 clients of this process. Threads may share clients, not sessions, and making one costs 50 ms."""

from __future__ import annotations

import os
import threading
from typing import Any

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
