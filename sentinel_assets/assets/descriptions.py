"""One sentence for each event."""

import dagster as dg
import pandas as pd

from resources.provided import AnalysisLog, Footage
from resources.settings import Settings
from sentinel_assets import models, previews
from sentinel_assets.vision.descriptions import describe_events
from sentinel_assets.wiring import picture, stage_asset, stage_run


@stage_asset(
    "descriptions",
    kinds={"python", "parquet"},
    group="understanding",
    description="One sentence for each event, of which every word comes from what was measured.",
    on_gpu=models.needs_weights("describer"),  # a network that looks; a template takes less time than a job to start
)
def descriptions(
    context: dg.AssetExecutionContext,
    detections: pd.DataFrame,
    behaviors: pd.DataFrame,
    demographics: pd.DataFrame,
    poses: pd.DataFrame,
    footage: Footage,
    analysis_log: AnalysisLog,
) -> dg.MaterializeResult[pd.DataFrame]:
    with stage_run(context, analysis_log) as run, footage.store.local_copy(run.partition) as path:
        table = describe_events(behaviors, demographics, poses, describer=models.describer())
        return run.result(
            table,
            sentences=picture(
                previews.description_table(path, table, detections, show_faces=Settings.from_env().show_faces)
            ),
        )
