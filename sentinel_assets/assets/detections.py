"""Persons and faces in the sampled frames, and the tracks that they form."""

import time

import dagster as dg
import pandas as pd

from resources.provided import AnalysisLog, Footage
from resources.settings import Settings
from sentinel_assets import models, previews
from sentinel_assets.assets.video import video
from sentinel_assets.filming import sampling_digest
from sentinel_assets.looking import people_in
from sentinel_assets.vision.frames import probe
from sentinel_assets.vision.suitability import require_suitable
from sentinel_assets.vision.tables import Sampling
from sentinel_assets.wiring import loading, own_sampling, picture, stage_asset, stage_run


@stage_asset(
    "detections",
    kinds={"pytorch", "parquet"},
    group="perception",
    description="Persons and faces in each sampled frame, joined to tracks that keep a person's id in the video.",
    deps=[video],
    on_gpu=True,
)
def detections(
    context: dg.AssetExecutionContext, footage: Footage, analysis_log: AnalysisLog
) -> dg.MaterializeResult[pd.DataFrame]:
    from sentinel_assets.vision.containers import DecodeWork

    with (
        stage_run(context, analysis_log) as run,
        loading(models.detector, models.face_detector),
        footage.store.local_copy(run.partition) as path,
    ):
        clip = probe(path)
        require_suitable(path, clip, accept_truncated=Settings.from_env().accept_truncated)
        first: dict[str, float] = {}
        work = DecodeWork()

        def progress(fraction: float) -> None:
            first.setdefault("seconds_to_first_frame", round(time.monotonic() - run.started, 3))
            run.progress(fraction)

        own = own_sampling(run.partition, analysis_log)
        beside = {"sampling": sampling_digest(own)} if own else {}
        table = run.table(
            lambda: people_in(path, clip, own_sampling=own, work=work, on_damage=run.warn, on_progress=progress),
            video=footage.store.record(run.partition).etag,
            **beside,
        )
        sampled = {"sampling_of_camera": dg.MetadataValue.json(dict(own))} if own else {}
        decoded = {"decoded_on": work.device} if work.frames else {}
        persons = table[table["kind"] == "person"]
        looked = len(Sampling.of(table).times_s)
        return run.result(
            table,
            people=int(persons["track"].nunique()),
            samples=looked,
            samples_per_second=round(looked / clip.duration_s, 3) if clip.duration_s > 0 else float(looked),
            **decoded,
            **sampled,
            **first,
            contact_sheet=picture(previews.contact_sheet(path, table, show_faces=Settings.from_env().show_faces)),
        )
