"""How the local Batch behaves where AWS gives no choice, and where a test would wait too long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ACCOUNT = "123456789012"  # moto's account; the ARNs of both must agree


@dataclass(frozen=True)
class BatchSettings:
    """The defaults are those of AWS; a test lowers what it would have to wait for."""

    region: str = "ap-northeast-2"
    gpus: int = 1
    """Devices handed to jobs as CUDA_VISIBLE_DEVICES, over all compute environments. They need not exist."""
    grace_s: float = 30.0
    """From SIGTERM to SIGKILL: ECS_CONTAINER_STOP_TIMEOUT of the ECS agent."""
    minimum_timeout_s: int = 60
    """The least attemptDurationSeconds (service model, JobTimeout)."""
    minimum_time_limit_s: int = 600
    """The least maxTimeSeconds of a jobStateTimeLimitAction (service model)."""
    workdir: Path | None = None
    """Where jobs run, as an image's WORKDIR; None: an empty folder for each attempt, deleted after it."""
    environment: Mapping[str, str] = field(default_factory=lambda: {"PYTHONUNBUFFERED": "1"})
    """What the image sets with ENV. PATH, HOME, LANG and the AWS_* of this server are set besides."""

    def arn(self, kind: str, name: str) -> str:
        return f"arn:aws:batch:{self.region}:{ACCOUNT}:{kind}/{name}"

    def ecs_arn(self, kind: str, name: str) -> str:
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:{kind}/local/{name}"


def name_in(reference: str) -> str:
    """The name in an ARN, or the name itself: requests may give either."""
    return reference.split("/", 1)[1] if reference.startswith("arn:") and "/" in reference else reference
