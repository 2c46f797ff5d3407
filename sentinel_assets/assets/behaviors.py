"""What each track does, and when: walking, standing, sitting, picking, theft, collapse, violent, anomaly."""

from typing import Any

import dagster as dg
import pandas as pd

from resources.provided import AnalysisLog, Footage
from resources.settings import Settings
from sentinel_assets import previews
from sentinel_assets.filming import Filming
from sentinel_assets.vision.behaviors import BehaviorParameters, recognise_behaviors
from sentinel_assets.vision.interest import measure_interest
from sentinel_assets.vision.tables import Sampling
from sentinel_assets.wiring import picture, stage_asset, stage_run


@stage_asset(
    "behaviors",
    kinds={"python", "parquet"},
    group="understanding",
    description="What each track does and when, by rules on tracks and keypoints; theft is a suspicion for review.",
)
def behaviors(
    context: dg.AssetExecutionContext,
    detections: pd.DataFrame,
    poses: pd.DataFrame,
    footage: Footage,
    analysis_log: AnalysisLog,
) -> dg.MaterializeResult[pd.DataFrame]:
    with stage_run(context, analysis_log) as run:
        filming = Filming.of(*analysis_log.address_of(run.partition))
        camera = filming.camera
        table = run.table(
            lambda: recognise_behaviors(
                detections,
                poses,
                parameters=BehaviorParameters(),
                camera=camera,
                recorded_at=filming.recorded_at,
            ),
            detections=detections,
            poses=poses,
            camera=filming.digest,
        )
        interest = measure_interest(detections, poses, table, camera=camera)
        show_faces = Settings.from_env().show_faces
        shown: dict[str, Any] = {"visitors": interest.visitors}
        with footage.store.local_copy(run.partition) as path:
            shown["heat_map"] = picture(previews.heat_map(path, interest, detections, show_faces=show_faces))
            if camera is not None:
                zones = previews.zones_picture(path, camera, detections, show_faces=show_faces)
                tables = picture(previews.interest_tables(interest))
                shown |= {"camera": camera.name, "zones": picture(zones), "interest": tables}
        counts = {str(k): int(v) for k, v in table["behavior"].value_counts().sort_index().items()}
        return run.result(
            table,
            counts=dg.MetadataValue.json(counts),
            for_review=int(table["needs_review"].sum()),
            timeline=picture(previews.swim_lanes(table, Sampling.of(detections))),
            **shown,
        )
