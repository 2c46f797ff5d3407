"""The one Definitions object. Importing it loads no model library: a test holds that."""

from __future__ import annotations

import warnings

import dagster as dg

# Checks by partition are a preview in 1.13; without a partition a check would show the latest video alone.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from resources.io_manager import ArtifactIOManager  # noqa: E402
from resources.provided import AnalysisLog, Footage, WarehouseResource  # noqa: E402
from resources.settings import Settings  # noqa: E402
from sentinel_assets.assets.behaviors import behaviors  # noqa: E402
from sentinel_assets.assets.demographics import demographics  # noqa: E402
from sentinel_assets.assets.descriptions import descriptions  # noqa: E402
from sentinel_assets.assets.detections import detections  # noqa: E402
from sentinel_assets.assets.embeddings import embeddings  # noqa: E402
from sentinel_assets.assets.events import events  # noqa: E402
from sentinel_assets.assets.poses import poses  # noqa: E402
from sentinel_assets.assets.video import video  # noqa: E402
from sentinel_assets.checks import CHECKS  # noqa: E402

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


def _definitions(settings: Settings) -> dg.Definitions:
    warehouse = WarehouseResource()
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=CHECKS,
        resources={
            "artifacts": ArtifactIOManager(base=settings.artifacts),
            "footage": Footage(base=settings.artifacts),
            "warehouse": warehouse,
            "analysis_log": AnalysisLog(warehouse=warehouse),
        },
        executor=dg.in_process_executor,  # a process for each step would load the models again for each
    )


defs = _definitions(Settings.from_env())
