"""What each track does, and when: walking, standing, sitting, picking, theft, collapse, violent, anomaly."""

import dagster as dg
import pandas as pd

from resources.provided import AnalysisLog
from sentinel_assets import previews
from sentinel_assets.vision.behaviors import BehaviorParameters, recognise_behaviors
from sentinel_assets.vision.tables import Sampling
from sentinel_assets.wiring import picture, stage_asset, stage_run


@stage_asset(
    "behaviors",
    kinds={"python", "parquet"},
    group="understanding",
    description="What each track does and when, by rules on tracks and keypoints; theft is a suspicion for review.",
)
def behaviors(
    context: dg.AssetExecutionContext, detections: pd.DataFrame, poses: pd.DataFrame, analysis_log: AnalysisLog
) -> dg.MaterializeResult[pd.DataFrame]:
    with stage_run(context, analysis_log) as run:
        table = recognise_behaviors(detections, poses, parameters=BehaviorParameters())
        counts = {str(k): int(v) for k, v in table["behavior"].value_counts().sort_index().items()}
        return run.result(
            table,
            counts=dg.MetadataValue.json(counts),
            for_review=int(table["needs_review"].sum()),
            timeline=picture(previews.swim_lanes(table, Sampling.of(detections))),
        )
