"""The footage itself: an external asset, whose data version is the content's digest or the object's ETag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg

from resources.footage import FootageRecord
from sentinel_assets.partitions import videos
from sentinel_assets.vision.frames import Clip
from sentinel_assets.wiring import OWNERS

video = dg.AssetSpec(
    "video",
    partitions_def=videos,
    group_name="footage",
    kinds={"s3"},
    owners=OWNERS,
    description="One recorded clip of a store's camera, as it was uploaded.",
)


@dataclass(frozen=True)
class Header:
    """What an object's header tells before a frame of it was decoded; None: the header does not say."""

    duration_s: float | None
    codec: str
    container: str
    width: int | None
    height: int | None

    @property
    def facts(self) -> dict[str, str | float | None]:
        """Those that a video's row holds."""
        return {"duration_s": self.duration_s, "codec": self.codec, "width": self.width, "height": self.height}


def video_materialization(partition: str, record: FootageRecord, seen: Clip | Header | None) -> dg.AssetMaterialization:
    """The event by which lineage starts at the footage; `seen` is what is known of it as a video, if anything."""
    facts: dict[str, Any] = {}
    if seen is not None:
        names = ("duration_s", "codec", "container", "width", "height")
        facts = {name: getattr(seen, name) for name in names}
    if isinstance(seen, Clip):
        facts["average_rate_hz"] = seen.average_rate
    return dg.AssetMaterialization(
        asset_key="video",
        partition=partition,
        metadata={
            "dagster/uri": record.uri,
            "size_bytes": record.size_bytes,
            "etag": record.etag,
            **{name: "unknown" if value is None else value for name, value in facts.items()},
        },
        tags={"dagster/data_version": record.etag},
    )
