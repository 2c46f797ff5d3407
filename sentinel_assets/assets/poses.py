"""Keypoints and body orientation of each tracked person in each sampled frame."""

import dagster as dg
import pandas as pd

from resources.provided import AnalysisLog, Footage
from resources.settings import Settings
from sentinel_assets import models, previews
from sentinel_assets.vision.poses import PoseParameters, estimate_poses
from sentinel_assets.wiring import loading, picture, stage_asset, stage_run


@stage_asset(
    "poses",
    kinds={"pytorch", "parquet"},
    group="perception",
    description="17 keypoints and the direction a body faces, for each tracked person in each sampled frame.",
    on_gpu=True,
)
def poses(
    context: dg.AssetExecutionContext, detections: pd.DataFrame, footage: Footage, analysis_log: AnalysisLog
) -> dg.MaterializeResult[pd.DataFrame]:
    with (
        stage_run(context, analysis_log) as run,
        loading(models.pose_models),
        footage.store.local_copy(run.partition) as path,
    ):
        table = run.table(
            lambda: estimate_poses(
                path,
                detections,
                pose_models=models.pose_models(),
                parameters=PoseParameters(),
                on_progress=run.progress,
            ),
            detections=detections,
        )
        return run.result(
            table,
            poses_found=int(table["keypoints"].notna().sum()),
            orientation_known=int(table["orientation"].notna().sum()),
            skeletons=picture(previews.pose_sheet(path, table, detections, show_faces=Settings.from_env().show_faces)),
        )
