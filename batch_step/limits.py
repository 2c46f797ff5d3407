"""What AWS Batch would refuse, or accept and then fail, is refused here, with the reason.

Sources: the Batch API reference (SubmitJob), its service quotas page, and for the size of overrides Metaflow issue 977:
ECS rejects more than 8,192 bytes after Batch had accepted the job.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from batch_step.errors import LimitExceeded

MAX_OVERRIDES_BYTES = 8_192
MAX_REQUEST_BYTES = 30 * 1_024
MAX_NAME = 128
MAX_TAGS = 50
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256
MIN_TIMEOUT_S = 60
MAX_PRIORITY = 9_999
MAX_SHARE = 255
RESERVED_ENVIRONMENT = "AWS_BATCH"  # a prefix that Batch keeps for itself

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SHARE = re.compile(rf"[A-Za-z0-9]{{1,{MAX_SHARE}}}")
_TAG = re.compile(r"[\w\s.:/=+\-@]*")


def check_submission(request: Mapping[str, Any]) -> None:
    """Raises LimitExceeded for the first limit that a SubmitJob request breaks."""
    _check_name(request["jobName"])
    _check_tags(request.get("tags", {}))
    overrides = request.get("containerOverrides", {})
    for variable in overrides.get("environment", []):
        if variable["name"].startswith(RESERVED_ENVIRONMENT):
            raise LimitExceeded(
                f"environment variable {variable['name']}: names that begin with AWS_BATCH are Batch's own"
            )
    for requirement in overrides.get("resourceRequirements", []):
        _check_resource(requirement["type"], requirement["value"])
    timeout = request.get("timeout", {}).get("attemptDurationSeconds")
    if timeout is not None and timeout < MIN_TIMEOUT_S:
        raise LimitExceeded(f"timeout of {timeout} s: Batch takes {MIN_TIMEOUT_S} s or more")
    share, priority = request.get("shareIdentifier"), request.get("schedulingPriorityOverride", 0)
    if share is not None and not _SHARE.fullmatch(share):
        raise LimitExceeded(f"share {share!r}: 1 to {MAX_SHARE} letters and digits")
    if not 0 <= priority <= MAX_PRIORITY:
        raise LimitExceeded(f"scheduling priority {priority}: 0 to {MAX_PRIORITY}")
    _check_size("container overrides", overrides, MAX_OVERRIDES_BYTES, "Put long values behind a URI or a secret")
    _check_size("the SubmitJob request", request, MAX_REQUEST_BYTES, "Shorten its tags, command and environment")


def job_name(*parts: str, unique: str) -> str:
    """A name that Batch takes: `parts` as far as they fit, then `unique`, which is never cut."""
    text = re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(parts)).strip("-_")
    return f"{text[: MAX_NAME - len(unique) - 1].rstrip('-_') or 'job'}-{unique}"


def tag_value(text: str) -> str:
    """`text` with what a tag may not hold replaced, cut to length."""
    return re.sub(r"[^\w\s.:/=+\-@]", "_", text)[:MAX_TAG_VALUE]


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise LimitExceeded(
            f"job name {name!r}, {len(name)} long: a letter or digit, then letters, digits, - and _, {MAX_NAME} at most"
        )


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        raise LimitExceeded(f"{len(tags)} tags: {MAX_TAGS} at most, those of the job definition included")
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_TAG_KEY or key.lower().startswith("aws:") or not _TAG.fullmatch(key):
            raise LimitExceeded(f"tag key {key!r}: 1 to {MAX_TAG_KEY} of letters, digits, space and _.:/=+-@, not aws:")
        if len(value) > MAX_TAG_VALUE or not _TAG.fullmatch(value):
            raise LimitExceeded(f"tag {key}={value!r}: {MAX_TAG_VALUE} at most of letters, digits, space and _.:/=+-@")


def _check_resource(kind: str, value: str) -> None:
    number = float(value) if re.fullmatch(r"\d+(\.\d+)?", value) else 0.0
    if number <= 0 or (kind != "VCPU" and not number.is_integer()):
        raise LimitExceeded(f"{kind} of {value!r}: {'a number' if kind == 'VCPU' else 'a whole number'} above 0")


def _check_size(what: str, message: Any, limit: int, remedy: str) -> None:
    size = len(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode())
    if size > limit:
        raise LimitExceeded(f"{what}: {size} bytes, {limit} at most", remedy=remedy)
