"""What videos cost on AWS, by a formula, and where each of its inputs comes from: `sentinel cost`.

A job of n videos takes S = start + load + n * warm seconds of a GPU host. Jobs come at random (Poisson), r a second.
Where the last host has gone, which a job finds with probability c, one must boot and get the image first; a host
without jobs idles for T seconds before Batch takes it away:

    c = exp(-r T)
    host seconds a job   B = S + c * cold + (1 - c) / r
    USD a video            = B / n / 3600 * (host + disk)

(1 - c) / r is the mean of an idle time that ends with the next job or after T. The formula sees one host. Near 1,000
videos a day a simulation with up to four came out up to 30 % higher; `MARGIN` is that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sentinel_assets.vision.errors import SentinelError

DAYS = 365 / 12  # of a month
HOURS = 24 * DAYS
VOLUMES = (1, 10, 100, 1_000, 10_000)


class Basis(StrEnum):
    """How far an input is to be trusted."""

    MEASURED = "measured"
    PUBLISHED = "published"
    """A figure of others, for a machine like ours."""
    PRICE = "list price"
    """us-east-1, USD; re-read before relying on it, and pass --host-price for your region."""
    ASSUMED = "assumed"


@dataclass(frozen=True)
class Input:
    """One figure of the formula."""

    value: float
    unit: str
    basis: Basis
    source: str

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or self.value < 0:
            raise SentinelError(f"{self.value} is no amount", where=self.source, remedy="Give a number from 0 on")


INPUTS: Mapping[str, Input] = {
    "decode_s": Input(
        25.4,
        "s",
        Basis.MEASURED,
        "CPU seconds to decode 300 of the 7500 frames of a 5-minute 1080p25 clip (H.264, GOP 50) by the plan of"
        " vision/gop.py, on 2 shared x86 cores; taken as if one core did all of it and nothing ran beside it",
    ),
    "load_s": Input(
        3.8,
        "s",
        Basis.MEASURED,
        "construct the published models and read 1.79 GB of weights with a cold cache, on 2 shared x86 cores",
    ),
    "models_s": Input(
        13.2,
        "s",
        Basis.ASSUMED,
        "twice the A10G's bound for the original models called once a frame, captions 16 at a time: 6.6 s at 70 TFLOP/s"
        " and 600 GB/s, from counted FLOPs and bytes; no A10G was at hand to measure on",
    ),
    "start_s": Input(8.0, "s", Basis.ASSUMED, "container start, Python's imports, CUDA context"),
    "boot_s": Input(75.0, "s", Basis.PUBLISHED, "EC2 boot, ECS agent and GPU driver: 45 to 90 s in others' reports"),
    "pull_stock_s": Input(
        150.0,
        "s",
        Basis.PUBLISHED,
        "pull of a GPU image: 4 to 6 minutes for 15 to 20 GB in AWS's own report; ours is 8",
    ),
    "pull_baked_s": Input(15.0, "s", Basis.ASSUMED, "what is left of the pull when image and weights are in the AMI"),
    "idle_s": Input(300.0, "s", Basis.ASSUMED, "until Batch ends a host without jobs; AWS publishes no figure"),
    "host_usd_h": Input(1.006, "USD/h", Basis.PRICE, "g5.xlarge, on demand"),
    "spot_usd_h": Input(0.45, "USD/h", Basis.PRICE, "g5.xlarge, spot; 0.30 to 0.50 was seen, and 0.96 in one region"),
    "disk_usd_h": Input(0.011, "USD/h", Basis.PRICE, "100 GB gp3 beside the host"),
}

FIXED: Mapping[str, Input] = {
    "database": Input(0.032 * HOURS + 20 * 0.115, "USD/month", Basis.PRICE, "db.t4g.small, one zone, 20 GB gp3"),
    "control plane": Input((0.04048 + 4 * 0.004445) * HOURS, "USD/month", Basis.PRICE, "Fargate, 1 vCPU, 4 GiB"),
    "load balancer": Input(0.0225 * HOURS, "USD/month", Basis.PRICE, "one internal ALB, without traffic"),
    "endpoints": Input(13 * 0.01 * HOURS, "USD/month", Basis.PRICE, "13 interface endpoints in one zone"),
    "key, secret, alarms, dashboard": Input(
        1 + 0.4 + 7 * 0.1 + 3, "USD/month", Basis.PRICE, "1 KMS key, 1 secret, 7 alarms, 1 dashboard"
    ),
}

MARGIN = 1.3  # of the formula at its worst, near 1,000 videos a day: a FIFO simulation with up to four hosts

# What the system before this one cost, as its owners gave it: USD a video on demand, USD a month by videos a day. The
# months are the video's price times 30 days, so that what runs all the time is not in them.
PREDECESSOR_USD_VIDEO = (0.08, 0.17)
PREDECESSOR_USD_MONTH: Mapping[int, tuple[float, float]] = {10: (25, 50), 50: (120, 250), 100: (240, 500)}


@dataclass(frozen=True)
class Terms:
    """What the reader may choose."""

    baked: bool = True
    """Image and weights are in the AMI."""
    spot: bool = False
    videos_per_job: int = 1
    """Videos that one job analyses after another, so that models are loaded once for all of them."""
    host_usd_h: float | None = None
    """In place of the list price."""
    work_s: float | None = None
    """Seconds that one video takes on a warm host, measured by you, in place of decode + models."""

    def __post_init__(self) -> None:
        if self.videos_per_job < 1:
            raise SentinelError("a job analyses one video at least", where="videos per job", remedy="Give 1 or more")
        for name in ("host_usd_h", "work_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SentinelError(f"{value} is no amount", where=name, remedy="Give a number above 0")

    @property
    def usd_h(self) -> float:
        """Of a host with its disk."""
        listed = INPUTS["spot_usd_h" if self.spot else "host_usd_h"].value
        return (self.host_usd_h or listed) + INPUTS["disk_usd_h"].value

    @property
    def warm_s(self) -> float:
        """Of one video whose job has its models loaded."""
        return self.work_s or INPUTS["decode_s"].value + INPUTS["models_s"].value

    @property
    def job_s(self) -> float:
        """Of one job on a host that is up and has the image."""
        return INPUTS["start_s"].value + INPUTS["load_s"].value + self.videos_per_job * self.warm_s

    @property
    def cold_s(self) -> float:
        """Until a new host has a job's container."""
        return INPUTS["boot_s"].value + INPUTS["pull_baked_s" if self.baked else "pull_stock_s"].value


@dataclass(frozen=True)
class Cost:
    """At one volume. USD; seconds of a host."""

    videos_per_day: float
    cold_share: float
    host_s: float
    usd_per_video: float
    usd_per_video_without_idle: float
    """As a bill by job counts: cold start and work, not the time until Batch takes the host away."""
    predecessor_with_idle: tuple[float, float]
    """The predecessor's USD a video, if its price counted cold start and work only and its hosts idled as ours do."""
    usd_per_month: float
    fixed_usd_per_month: float


def cost(videos_per_day: float, terms: Terms) -> Cost:
    """Raises SentinelError for a volume that is none."""
    if not (math.isfinite(videos_per_day) and videos_per_day > 0):
        raise SentinelError(f"{videos_per_day} videos a day", where="volume", remedy="Give a number above 0")
    rate = videos_per_day / 86400 / terms.videos_per_job
    cold_share = math.exp(-rate * INPUTS["idle_s"].value)
    job_s = terms.job_s + cold_share * terms.cold_s
    idle_s = (1 - cold_share) / rate
    usd = terms.usd_h / 3600 / terms.videos_per_job
    old_s = [price / INPUTS["host_usd_h"].value * 3600 for price in PREDECESSOR_USD_VIDEO]
    return Cost(
        videos_per_day=videos_per_day,
        cold_share=cold_share,
        host_s=(job_s + idle_s) / terms.videos_per_job,
        usd_per_video=(job_s + idle_s) * usd,
        usd_per_video_without_idle=job_s * usd,
        predecessor_with_idle=_as_pair(old_s, idle_s_alone(videos_per_day)),
        usd_per_month=(job_s + idle_s) * usd * videos_per_day * DAYS,
        fixed_usd_per_month=sum(one.value for one in FIXED.values()),
    )


def idle_s_alone(videos_per_day: float) -> float:
    """Idle seconds a video where each has a job of its own."""
    rate = videos_per_day / 86400
    return (1 - math.exp(-rate * INPUTS["idle_s"].value)) / rate


def _as_pair(host_s: list[float], idle_s: float) -> tuple[float, float]:
    low, high = ((seconds + idle_s) / 3600 * INPUTS["host_usd_h"].value for seconds in host_s)
    return low, high


def statement(volumes: tuple[float, ...], terms: Terms) -> dict[str, Any]:
    """All that the command says, as plain data."""
    chosen: dict[str, Any] = {**asdict(terms), "usd_per_host_hour": terms.usd_h}
    return {
        "terms": chosen,
        "warm_video": {"seconds": terms.warm_s, "usd": terms.warm_s / 3600 * terms.usd_h},
        "job_start_s": INPUTS["start_s"].value + INPUTS["load_s"].value,
        "cold_start_s": terms.cold_s,
        "volumes": [asdict(cost(volume, terms)) for volume in volumes],
        "fixed_usd_per_month": {name: one.value for name, one in FIXED.items()},
        "predecessor": {
            "usd_per_video": list(PREDECESSOR_USD_VIDEO),
            "usd_per_month": {str(volume): list(span) for volume, span in PREDECESSOR_USD_MONTH.items()},
        },
        "inputs": {name: asdict(one) for name, one in {**INPUTS, **FIXED}.items()},
    }
