"""One sentence for each event."""

from __future__ import annotations

import dagster as dg
import pandas as pd

from resources.provided import AnalysisLog, Footage
from sentinel_assets import models, previews
from sentinel_assets.vision.descriptions import describe_events
from sentinel_assets.wiring import stage_options, stage_run


@dg.asset(
    **stage_options(
        "descriptions",
        kinds={"python", "parquet"},
        group="understanding",
        description="One sentence for each event, of which every word comes from what was measured.",
    )
)
def descriptions(
    context: dg.AssetExecutionContext,
    behaviors: pd.DataFrame,
    demographics: pd.DataFrame,
    poses: pd.DataFrame,
    footage: Footage,
    analysis_log: AnalysisLog,
) -> dg.MaterializeResult[pd.DataFrame]:
    with stage_run(context, analysis_log) as run, footage.store.local_copy(run.partition) as path:
        table = describe_events(behaviors, demographics, poses, describer=models.describer())
        return run.result(table, sentences=dg.MetadataValue.md(previews.description_table(path, table)))
