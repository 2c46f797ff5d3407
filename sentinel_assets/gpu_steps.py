"""The stages that run on a GPU as AWS Batch jobs: the launcher as this product sets it up, and its hand in the
warehouse, which no job reaches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg

from batch_step import BatchStepLauncher, note_in, orphan_reaper
from batch_step.cost import DEFAULT_PRICES
from resources.cloud import variable
from resources.provided import AnalysisLog
from resources.settings import Settings
from sentinel_assets.filming import Filming
from sentinel_assets.notes import write_down
from sentinel_assets.vision.errors import StoreUnavailable
from sentinel_assets.wiring import OWN_SAMPLING, acting_on_errors, announce

NAME_PREFIX = "sentinel"

JOB_HELD_FRAMES_MB = 1024
"""Five minutes of full HD with somebody in each frame; a job has 15 GiB."""

_CODE = ["sentinel_assets", "resources", "batch_step"]


class GpuSteps(BatchStepLauncher):
    """Runs a stage as a job, and writes on its video's row what the job tells."""

    analysis_log: AnalysisLog

    def launch_step(self, step_context: dg.StepExecutionContext) -> Iterator[dg.DagsterEvent]:
        with acting_on_errors():
            announce(step_context.op.name, step_context.partition_key, step_context.dagster_run, self.analysis_log)
        yield from super().launch_step(step_context)

    def tells(self, step_context: dg.StepExecutionContext) -> dict[str, Any]:
        """How detections are to sample: the video's camera is known here alone, by its row and the files."""
        if step_context.op.name != "detections":
            return {}
        with acting_on_errors():
            own = Filming.of(*self.analysis_log.address_of(step_context.partition_key)).sampling
        return {OWN_SAMPLING: dict(own)} if own else {}

    def on_event(self, step_context: dg.StepExecutionContext, entry: dg.EventLogEntry) -> None:
        """A database that is away for a moment costs a remark here, not hours of a GPU."""
        note = note_in(entry)
        if note is None:
            return
        try:
            write_down(note, self.analysis_log)
        except StoreUnavailable as error:
            step_context.log.warning("not written on the video's row: %s (%s)", entry.user_message, error)


def launcher(settings: Settings, analysis_log: AnalysisLog, **terms: Any) -> dg.ResourceDefinition | GpuSteps:
    """What GPU stages ask for: jobs where the deployment has a Batch queue, else nothing, and they run in process.

    `terms`: fields of the launcher, in place of the product's. One job serves a run, as three stages look at the same
    frames with models of which each takes seconds to load, and in a backfill one run after another.
    """
    cloud = settings.cloud
    if cloud.batch_queue is None:
        return dg.ResourceDefinition.none_resource()
    ours: dict[str, Any] = {
        "channel": cloud.require("step_channel"),
        "queue": cloud.batch_queue,
        "on_demand_queue": cloud.on_demand_queue,
        "share": cloud.upload_share,
        "backfill_share": cloud.backfill_share,
        "job_definition": cloud.require("job_definition"),
        "reuse": "run",
        "runs_per_job": settings.videos_per_job,
        "timeout_seconds": settings.step_time_limit_s,
        "name_prefix": NAME_PREFIX,
        "code_packages": _CODE,
        "environment": job_environment(settings),
        "prices": {**DEFAULT_PRICES, **settings.host_prices},
    }
    return GpuSteps(analysis_log=analysis_log, **{**ours, **terms})


def job_environment(settings: Settings) -> dict[str, str]:
    """What a job must have as this process has it: where tables are, and all that changes what comes out."""
    return {
        variable("artifacts"): settings.artifacts,
        "SENTINEL_DEPLOYMENT": settings.deployment,
        "SENTINEL_PROFILE": settings.profile,
        "SENTINEL_SAMPLING": os.environ.get("SENTINEL_SAMPLING", ""),
        "SENTINEL_SAMPLE_RATE": str(settings.sample_rate_hz),
        "SENTINEL_SHOW_FACES": str(int(settings.show_faces)),
        "SENTINEL_ACCEPT_TRUNCATED": str(int(settings.accept_truncated)),
        "SENTINEL_DECODE_DEVICE": settings.decode_device,
        "SENTINEL_HELD_FRAMES_MB": os.environ.get("SENTINEL_HELD_FRAMES_MB") or str(JOB_HELD_FRAMES_MB),
    }


def reapers(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensor that ends jobs whose run is over, where there is a queue."""
    cloud = settings.cloud
    if cloud.batch_queue is None:
        return []
    queues = [cloud.batch_queue, *filter(None, [cloud.on_demand_queue])]
    return [orphan_reaper(queues=queues, name_prefix=NAME_PREFIX)]
