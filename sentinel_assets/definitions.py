"""The one Definitions object. Importing it loads no model library: a test holds that."""

from __future__ import annotations

import dagster as dg

from resources.io_manager import ArtifactIOManager
from resources.provided import AnalysisLog, Footage, WarehouseResource
from resources.settings import Settings
from resources.upload_queue import UploadQueue
from sensors.uploads import uploads_sensor
from sentinel_assets.assets.behaviors import behaviors
from sentinel_assets.assets.demographics import demographics
from sentinel_assets.assets.descriptions import descriptions
from sentinel_assets.assets.detections import detections
from sentinel_assets.assets.embeddings import embeddings
from sentinel_assets.assets.events import events
from sentinel_assets.assets.poses import poses
from sentinel_assets.assets.video import video
from sentinel_assets.checks import CHECKS
from sentinel_assets.freshness import DEPENDENCIES

ASSETS: list[dg.AssetsDefinition | dg.AssetSpec] = [
    video,
    detections,
    demographics,
    poses,
    behaviors,
    descriptions,
    embeddings,
    events,
]


ANALYSIS = dg.define_asset_job(
    "analysis",
    selection=dg.AssetSelection.assets(*DEPENDENCIES),
    description="One video through all stages: its events, from its footage.",
)


def _definitions(settings: Settings) -> dg.Definitions:
    warehouse = WarehouseResource()
    resources: dict[str, object] = {}
    sensors: list[dg.SensorDefinition] = []
    if settings.cloud.upload_queue is not None:
        resources["upload_queue"] = UploadQueue(url=settings.cloud.upload_queue)
        sensors.append(uploads_sensor(ANALYSIS))
    return dg.Definitions(
        assets=ASSETS,
        jobs=[ANALYSIS],
        sensors=sensors,
        asset_checks=CHECKS,
        resources={
            **resources,
            "artifacts": ArtifactIOManager(base=settings.artifacts),
            "footage": Footage(base=settings.artifacts),
            "warehouse": warehouse,
            "analysis_log": AnalysisLog(warehouse=warehouse),
        },
        executor=dg.in_process_executor,  # a process for each step would load the models again for each
    )


defs = _definitions(Settings.from_env())
