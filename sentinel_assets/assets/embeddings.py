"""The vector of each event's description."""

import dagster as dg
import pandas as pd

from resources.provided import AnalysisLog
from sentinel_assets import models, previews
from sentinel_assets.recipes import recipe
from sentinel_assets.vision.embeddings import embed_descriptions
from sentinel_assets.wiring import picture, stage_asset, stage_run


@stage_asset(
    "embeddings",
    kinds={"huggingface", "parquet"},
    group="understanding",
    description="A vector of each event's description, by which it is found in English and Korean.",
    on_gpu=False,  # a dozen short sentences for a video are a tenth of a second for a CPU
)
def embeddings(
    context: dg.AssetExecutionContext, descriptions: pd.DataFrame, analysis_log: AnalysisLog
) -> dg.MaterializeResult[pd.DataFrame]:
    with stage_run(context, analysis_log) as run:
        table = run.table(
            lambda: embed_descriptions(descriptions, encoder=models.text_encoder()), descriptions=descriptions
        )
        if len(table):
            spaces = analysis_log.warehouse.connected.spaces
            spaces.declare(recipe("embeddings").digest, len(table["vector"].iloc[0]))
        return run.result(table, nearest=picture(previews.neighbour_table(descriptions, table)))
