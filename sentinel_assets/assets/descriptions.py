"""One sentence for each event."""

import dagster as dg
import pandas as pd

from resources.provided import AnalysisLog, Footage
from resources.settings import Settings
from sentinel_assets import models, previews
from sentinel_assets.vision.descriptions import describe_events
from sentinel_assets.vision.key_frames import KeyFrameParameters
from sentinel_assets.wiring import loading, picture, stage_asset, stage_run


@stage_asset(
    "descriptions",
    kinds={"python", "parquet"},
    group="understanding",
    description="One sentence for each event, which says nothing against what was measured.",
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
    with (
        stage_run(context, analysis_log) as run,
        loading(models.describer),
        footage.store.local_copy(run.partition) as path,
    ):
        table = run.table(
            lambda: describe_events(
                behaviors,
                demographics,
                poses,
                describer=models.describer(),
                path=path,
                detections=detections,
                key_frames=KeyFrameParameters(),
                on_progress=run.progress,
            ),
            detections=detections,
            behaviors=behaviors,
            demographics=demographics,
            poses=poses,
        )
        return run.result(
            table,
            not_by_chosen_describer=int(table["remark"].notna().sum()),
            sentences=picture(
                previews.description_table(path, table, detections, show_faces=Settings.from_env().show_faces)
            ),
        )
