"""The footage itself: an external asset, whose data version is the content's digest or the object's ETag."""

from __future__ import annotations

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


def video_materialization(partition: str, record: FootageRecord, clip: Clip) -> dg.AssetMaterialization:
    """The event by which lineage starts at the footage."""
    return dg.AssetMaterialization(
        asset_key="video",
        partition=partition,
        metadata={
            "dagster/uri": record.uri,
            "size_bytes": record.size_bytes,
            "etag": record.etag,
            "duration_s": clip.duration_s,
            "codec": clip.codec,
            "container": clip.container,
            "width": clip.width,
            "height": clip.height,
            "average_rate_hz": clip.average_rate,
        },
        tags={"dagster/data_version": record.etag},
    )
