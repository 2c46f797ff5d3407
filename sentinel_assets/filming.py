"""By what camera a video was filmed, and when: what the rules are told beside the tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from resources.cameras import cameras
from sentinel_assets.parameters import sampling
from sentinel_assets.vision.cameras import Camera

NO_CAMERA = "none"


@dataclass(frozen=True)
class Filming:
    """`camera` is None where no file of a camera names the video; `recorded_at` where the camera's does not tell."""

    camera: Camera | None = None
    recorded_at: datetime | None = None

    @classmethod
    def of(cls, name: str, uri: str) -> Filming:
        """Of a video as its row calls it. Raises SentinelError where several cameras claim it."""
        camera = cameras().of_video(name, uri)
        return cls(camera, camera.recorded_at(name, uri) if camera else None)

    @property
    def digest(self) -> str:
        """12 hex digits over all that can change what comes out of the rules; not over the patterns by which the video
        was found, nor over how it is sampled."""
        if self.camera is None:
            return NO_CAMERA
        facts = {k: v for k, v in asdict(self.camera).items() if k not in ("videos", "recorded", "sampling")}
        recorded_at = self.recorded_at.isoformat() if self.recorded_at else None
        return _digest([facts, recorded_at])

    @property
    def sampling(self) -> Mapping[str, str | float]:
        """What of the sampling is the camera's own (`parameters.sampling`); nothing where it has none."""
        return dict(self.camera.sampling) if self.camera else {}


def sampling_digest(own: Mapping[str, str | float]) -> str:
    """12 hex digits over how the video is sampled where its camera has a sampling of its own, else empty."""
    if not own:
        return ""
    chosen = sampling(own)
    return _digest([type(chosen).__name__, asdict(chosen)])


def _digest(facts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def filming_digests(addresses: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    """For `camera` and `sampling` the digest of each video that a camera filmed, and that is sampled in a way of its
    own, by partition key; `addresses` are names and addresses."""
    if not cameras().cameras:
        return {}
    found = {partition: Filming.of(name, uri) for partition, (name, uri) in addresses.items()}
    sampled = {camera.name: sampling_digest(dict(camera.sampling)) for camera in cameras().cameras}
    return {
        "camera": {partition: one.digest for partition, one in found.items() if one.camera is not None},
        "sampling": {p: sampled[one.camera.name] for p, one in found.items() if one.camera and one.camera.sampling},
    }
