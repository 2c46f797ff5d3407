"""Age and gender of each track, where a face is large enough to tell."""

import dagster as dg
import pandas as pd

from resources.provided import AnalysisLog, Footage
from sentinel_assets import models, previews
from sentinel_assets.vision.demographics import DemographicsParameters, estimate_demographics
from sentinel_assets.wiring import loading, picture, stage_asset, stage_run


@stage_asset(
    "demographics",
    kinds={"python", "parquet"},
    group="perception",
    description="Age range and gender of each track, voted over its best faces; unknown where all are small.",
    on_gpu=True,
)
def demographics(
    context: dg.AssetExecutionContext, detections: pd.DataFrame, footage: Footage, analysis_log: AnalysisLog
) -> dg.MaterializeResult[pd.DataFrame]:
    with (
        stage_run(context, analysis_log) as run,
        loading(models.attribute_model),
        footage.store.local_copy(run.partition) as path,
    ):
        table = run.table(
            lambda: estimate_demographics(
                path,
                detections,
                attribute_model=models.attribute_model(),
                parameters=DemographicsParameters(),
                on_progress=run.progress,
            ),
            detections=detections,
        )
        return run.result(
            table,
            tracks=len(table),
            age_known=int(table["age"].notna().sum()),
            gender_known=int((table["gender"] != "unknown").sum()),
            histogram=picture(previews.age_gender_histogram(table)),
        )
