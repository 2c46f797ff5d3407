"""The parameters by which each stage works now: the defaults of its code, and what the environment sets."""

from __future__ import annotations

import os
from dataclasses import dataclass

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


def sampling() -> SamplingParameters | AdaptiveSampling:
    """SENTINEL_SAMPLING is `fixed` (the default) or `adaptive`, and SENTINEL_SAMPLE_RATE the rate, or the scout's."""
    rate_hz = SamplingParameters(rate_hz=Settings.from_env().sample_rate_hz).rate_hz
    mode = os.environ.get("SENTINEL_SAMPLING") or "fixed"
    if mode not in ("fixed", "adaptive"):
        raise SentinelError(f"{mode!r} is neither fixed nor adaptive", where="SENTINEL_SAMPLING")
    if mode == "fixed":
        return SamplingParameters(rate_hz)
    usual = AdaptiveSampling()
    return AdaptiveSampling(rate_hz, max(rate_hz, usual.person_hz), max(rate_hz, usual.candidate_hz))
