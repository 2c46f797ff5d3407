"""The one Definitions object. Importing it loads no model library: a test holds that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import dagster as dg

from resources.io_manager import ArtifactIOManager
from resources.provided import AnalysisLog, Footage, WarehouseResource
from resources.settings import Settings
from resources.upload_queue import UploadQueue
from sensors.failures import failures
from sensors.upgrades import automatic_upgrades, upgrades
from sensors.uploads import uploads_sensor
from sentinel_assets import gpu_steps
from sentinel_assets.assets.behaviors import behaviors
from sentinel_assets.assets.canary_report import canary_report
from sentinel_assets.assets.demographics import demographics
from sentinel_assets.assets.descriptions import descriptions
from sentinel_assets.assets.detections import detections
from sentinel_assets.assets.embeddings import embeddings
from sentinel_assets.assets.events import events
from sentinel_assets.assets.model_coverage import model_coverage
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
    model_coverage,
    canary_report,
]


ANALYSIS = dg.define_asset_job(
    "analysis",
    selection=dg.AssetSelection.assets(*DEPENDENCIES),
    description="One video through all stages: its events, from its footage.",
)


def definitions(
    settings: Settings,
    *,
    executor: dg.ExecutorDefinition = dg.in_process_executor,
    launcher: Mapping[str, object] | None = None,
) -> dg.Definitions:
    """All of the code location, as the deployment of these settings has it.

    `launcher`: fields of what sends GPU steps to Batch, in place of the product's.
    """
    warehouse, footage = WarehouseResource(), Footage(base=settings.artifacts)
    analysis_log = AnalysisLog(warehouse=warehouse, footage=footage)
    provided: dict[str, object] = {}
    sensors = [failures, upgrades, automatic_upgrades(), *gpu_steps.reapers(settings)]
    if settings.cloud.upload_queue is not None:
        provided["upload_queue"] = UploadQueue(url=settings.cloud.upload_queue)
        sensors.append(uploads_sensor(ANALYSIS))
    return dg.Definitions(
        assets=ASSETS,
        jobs=[ANALYSIS],
        sensors=sensors,
        asset_checks=CHECKS,
        resources={
            **provided,
            "artifacts": ArtifactIOManager(base=settings.artifacts),
            "footage": footage,
            "warehouse": warehouse,
            "analysis_log": analysis_log,
            "gpu": gpu_steps.launcher(settings, analysis_log, **(launcher or {})),
        },
        # In process: a process for each step would load the models again, or be 150 MB that wait for a job.
        executor=executor,
    )


defs = definitions(Settings.from_env())


def definitions_without_batch(settings: Settings) -> dg.Definitions:
    """Of a command by whose side a person waits: every stage runs here and now, whatever queue the deployment has."""
    if settings.cloud.batch_queue is None:
        return defs
    return definitions(replace(settings, cloud=replace(settings.cloud, batch_queue=None)))
