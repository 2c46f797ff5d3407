"""The EC2 host that a worker runs on, from the instance metadata service (IMDSv2): its type, how it was bought, and
whether EC2 has announced to take it back. A container reaches the service when the host's hop limit is 2.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from dataclasses import dataclass

INSTANCE_TYPE_ENV = "BATCH_STEP_INSTANCE_TYPE"  # set both where there is no metadata service
PURCHASE_ENV = "BATCH_STEP_PURCHASE"  # "spot" or "on-demand"
_SERVICE = "http://169.254.169.254"
_TIMEOUT_S = 1.0  # it answers in milliseconds or not at all


@dataclass(frozen=True)
class Machine:
    instance_type: str | None = None
    purchase: str | None = None

    @classmethod
    def here(cls) -> Machine:
        kind = os.environ.get(INSTANCE_TYPE_ENV) or _metadata("instance-type")
        purchase = os.environ.get(PURCHASE_ENV) or (_metadata("instance-life-cycle") if kind else None)
        return cls(kind, purchase)


def spot_notice() -> bool:
    """Whether EC2 has said that it takes this host back; the path answers 404 until then."""
    return _metadata("spot/instance-action") is not None


def _metadata(path: str) -> str | None:
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    service = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", _SERVICE).rstrip("/")
    try:
        token = _request(f"{service}/latest/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        return _request(f"{service}/latest/meta-data/{path}", "GET", {"X-aws-ec2-metadata-token": token})
    except urllib.error.HTTPError as error:  # of URLError, too, but an answer that holds its connection
        with error:
            return None
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return None


def _request(url: str, method: str, headers: dict[str, str]) -> str:
    request = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310 - the address is ours
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        return str(answer.read().decode())
