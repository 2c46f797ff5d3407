"""A code location with the deployment's own sensors, rows and records around an analysis that looks at no pixel: of a
video it publishes one event, which says what its content was.

What `contents` holds waits before it publishes, so that a test may act in the meantime.
"""

import time

import dagster as dg
from dagster._core.launcher.base import LaunchRunContext

from batch_step.run_launcher import ProcessRunLauncher
from resources.provided import AnalysisLog, Footage, WarehouseResource
from resources.settings import Settings
from resources.upload_queue import UploadQueue
from sensors.failures import failures
from sensors.uploads import uploads_sensor
from sentinel_assets.assets.video import video
from sentinel_assets.checks import every_failed_video_was_redone
from sentinel_assets.partitions import videos
from sentinel_assets.vision.errors import NotAVideo
from sentinel_assets.wiring import record_failure, stage_run
from tests.builders.contents import NO_VIDEO, is_held
from tests.builders.events import RECIPES, event_rows


@dg.asset(partitions_def=videos, deps=[video], hooks={record_failure})
def events(context: dg.AssetExecutionContext, footage: Footage, analysis_log: AnalysisLog) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """As the stage of that name begins, reads, publishes and fails."""
    with stage_run(context, analysis_log) as run:
        with footage.store.local_copy(run.partition) as path:
            content = path.read_bytes()
            if content.startswith(NO_VIDEO):
                raise NotAVideo("not a video file that can be read", where=path, remedy="Give a video")
        while is_held(Settings.from_env().home, content):
            time.sleep(0.05)
        rows = event_rows(1, description=content.decode())
        analysis_log.publish(run.partition, context.run_id, rows, recipes=RECIPES, content=run.content, beside={})
        return dg.MaterializeResult(metadata={"content": content.decode()})


class HandedOver(ProcessRunLauncher):
    """Leaves a run to whoever looks for runs that are starting: `services.run_all`, which lives apart from the daemon
    as a run's process does, and starts in no time."""

    def launch_run(self, context: LaunchRunContext) -> None:
        pass

    def terminate(self, run_id: str) -> bool:
        return False


def _definitions(settings: Settings) -> dg.Definitions:
    warehouse, footage = WarehouseResource(), Footage(base=settings.artifacts)
    analysis = dg.define_asset_job("analysis", selection=[events])
    return dg.Definitions(
        assets=[video, events],
        asset_checks=[every_failed_video_was_redone],
        jobs=[analysis],
        sensors=[uploads_sensor(analysis), failures],
        resources={
            "upload_queue": UploadQueue(url=settings.cloud.require("upload_queue")),
            "footage": footage,
            "warehouse": warehouse,
            "analysis_log": AnalysisLog(warehouse=warehouse, footage=footage),
        },
        executor=dg.in_process_executor,
    )


defs = _definitions(Settings.from_env())
