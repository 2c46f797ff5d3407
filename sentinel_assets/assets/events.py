"""The events as rows of the warehouse, published whole in one transaction."""

import dagster as dg
import pandas as pd

from resources.provided import AnalysisLog
from resources.vectors import Vector
from sentinel_assets.freshness import recipes_in_place
from sentinel_assets.recipes import STAGES, recipe, table_digest
from sentinel_assets.search import encoder_of
from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.events import assemble_events
from sentinel_assets.wiring import stage_asset, stage_run


@stage_asset(
    "events",
    kinds={"postgres"},
    group="search",
    description="The events as rows in PostgreSQL, replaced whole in one transaction, ready to be searched.",
)
def events(
    context: dg.AssetExecutionContext,
    behaviors: pd.DataFrame,
    demographics: pd.DataFrame,
    poses: pd.DataFrame,
    descriptions: pd.DataFrame,
    embeddings: pd.DataFrame,
    analysis_log: AnalysisLog,
) -> dg.MaterializeResult[pd.DataFrame]:
    with stage_run(context, analysis_log) as run:
        # This step may run alone, over what another profile made: search must not take old vectors for new ones.
        made = recipes_in_place(context.instance, run.partition, [name for name in STAGES if name != "events"])
        table = run.table(
            lambda: assemble_events(behaviors, demographics, poses, descriptions, embeddings),
            behaviors=behaviors,
            demographics=demographics,
            poses=poses,
            descriptions=descriptions,
            embeddings=f"{made['embeddings']}-{table_digest('embeddings', embeddings)}",
        )
        beside: dict[str, dict[str, Vector]] = {}
        warehouse = analysis_log.warehouse.connected
        # While search answers, or may be told to answer, from another recipe's vectors, what is new has those too.
        unsaid = warehouse.spaces.unsaid(run.partition, table["description"].tolist(), made["embeddings"])
        for other, sentences in unsaid.items():
            try:
                found = encoder_of(warehouse, other).encode_passages(sentences)
            except ModelError as error:
                run.warn(f"by vectors of the embedding recipe {other} search does not find what is new here: {error}")
            else:
                beside[other] = dict(zip(sentences, found, strict=True))
        published = analysis_log.publish(
            run.partition,
            context.run.run_id,
            table,
            recipes={**made, "events": recipe("events").digest},
            content=run.content,
            beside=beside,
        )
        counts = {str(k): int(v) for k, v in table["event_type"].value_counts().sort_index().items()}
        return run.result(table, published=published, counts=dg.MetadataValue.json(counts))
