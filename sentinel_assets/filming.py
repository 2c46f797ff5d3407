"""By what camera a video was filmed, and when: what the rules are told beside the tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from resources.cameras import cameras
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
        """12 hex digits over all that can change what comes out; not over the patterns by which the video was found."""
        if self.camera is None:
            return NO_CAMERA
        facts = {k: v for k, v in asdict(self.camera).items() if k not in ("videos", "recorded")}
        recorded_at = self.recorded_at.isoformat() if self.recorded_at else None
        return hashlib.sha256(json.dumps([facts, recorded_at], sort_keys=True).encode()).hexdigest()[:12]


def filming_digests(addresses: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """The digest of each video that a camera filmed, by partition key; `addresses` are names and addresses."""
    if not cameras().cameras:
        return {}
    found = {partition: Filming.of(name, uri).digest for partition, (name, uri) in addresses.items()}
    return {partition: digest for partition, digest in found.items() if digest != NO_CAMERA}
