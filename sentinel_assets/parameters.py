"""The parameters by which each stage works now: the defaults of its code, and what the environment sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resources.settings import Settings
from sentinel_assets.vision.adaptive import AdaptiveSampling
from sentinel_assets.vision.errors import SentinelError


@dataclass(frozen=True)
class SamplingParameters:
    """Which frames are looked at: one every 1/rate_hz seconds of presentation time."""

    rate_hz: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.rate_hz <= 30:
            raise SentinelError(
                f"{self.rate_hz} samples a second",
                where="SENTINEL_SAMPLE_RATE",
                remedy="Choose more than 0 and at most 30",
            )


def sampling(own: Mapping[str, Any] | None = None) -> SamplingParameters | AdaptiveSampling:
    """SENTINEL_SAMPLING is `fixed` (the default) or `adaptive`, and SENTINEL_SAMPLE_RATE the rate, or the scout's.

    `own`: what a camera has in their place (`Camera.sampling`).
    """
    own = dict(own or {})
    mode = own.pop("mode", None) or os.environ.get("SENTINEL_SAMPLING") or "fixed"
    if mode not in ("fixed", "adaptive"):
        raise SentinelError(f"{mode!r} is neither fixed nor adaptive", where="SENTINEL_SAMPLING")
    rate_hz = SamplingParameters(own.pop("rate_hz", None) or Settings.from_env().sample_rate_hz).rate_hz
    if mode == "fixed":
        return SamplingParameters(rate_hz)
    usual = AdaptiveSampling()
    # A closer look is no slower than the one before, whatever rate the deployment has.
    person_hz = max(rate_hz, own.pop("person_hz", usual.person_hz))
    candidate_hz = max(person_hz, own.pop("candidate_hz", usual.candidate_hz))
    return AdaptiveSampling(rate_hz, person_hz, candidate_hz, **own)
