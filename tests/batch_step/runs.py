"""Running toy assets, and looking at what a run recorded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import dagster as dg

from batch_step.dagster_internals import ReconstructableJob, capture_interrupts

MODULE = "tests.batch_step.assets_under_test"


def reconstructable(definitions: str) -> ReconstructableJob:
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    return ReconstructableRepository.for_module(MODULE, definitions).get_reconstructable_job("__ASSET_JOB")


@dataclass
class Toys:
    """The toy assets under one instance. `settings` are the launcher's."""

    instance: dg.DagsterInstance
    outputs: Path
    settings: dict[str, Any]
    definitions: str = "remote"
    quiet: bool = False
    """Dagster's console logger off: each event would stand on stderr, too."""

    def add_videos(self, *keys: str) -> None:
        self.instance.add_dynamic_partitions("toy_videos", list(keys))

    def run(
        self,
        *assets: str,
        partition: str | None = None,
        between: tuple[str, str] | None = None,
        tags: dict[str, str] | None = None,
        ops: dict[str, Any] | None = None,
        **settings: Any,
    ) -> dg.JobExecutionResult:
        """Materializes assets for a partition or a range; `ops` is config by asset, `settings` the launcher's."""
        tags = {**(tags or {}), **({"dagster/partition": partition} if partition else {})}
        if between:
            tags |= {"dagster/asset_partition_range_start": between[0], "dagster/asset_partition_range_end": between[1]}
        resources: dict[str, Any] = {
            "io_manager": {"config": {"base": str(self.outputs)}},
            "pickles": {"config": {"base_dir": str(self.outputs / "pickles")}},
        }
        if self.definitions != "local":
            resources["gpu"] = {"config": {**self.settings, **settings}}
        config: dict[str, Any] = {"resources": resources}
        if ops:
            config["ops"] = {name: {"config": op} for name, op in ops.items()}
        if self.quiet:
            config["loggers"] = {"console": {"config": {"log_level": "CRITICAL"}}}
        return dg.execute_job(
            reconstructable(self.definitions),
            self.instance,
            run_config=config,
            tags=tags,
            asset_selection=[dg.AssetKey(a) for a in assets],
        )

    def run_again(self, run: dg.JobExecutionResult, *steps: str) -> dg.JobExecutionResult:
        """A re-execution of these steps of that run."""
        options = dg.ReexecutionOptions(run.run_id, steps)
        return dg.execute_job(reconstructable(self.definitions), self.instance, reexecution_options=options)

    def create_run(self, asset: str, behavior: dict[str, Any], **settings: Any) -> str:
        """A run for a run worker of its own; its id."""
        resources: dict[str, Any] = {"io_manager": {"config": {"base": str(self.outputs)}}}
        if self.definitions != "local":
            resources["gpu"] = {"config": {**self.settings, **settings}}
        config = {"resources": resources, "ops": {asset: {"config": behavior}}}
        job = reconstructable(self.definitions).get_subset(asset_selection=frozenset([dg.AssetKey(asset)]))
        run = self.instance.create_run_for_job(
            job.get_definition(), run_config=config, asset_selection=job.asset_selection
        )
        return run.run_id

    def jobs(self, queue: str = "gpu") -> list[dict[str, Any]]:
        """All Batch jobs of a queue, in full."""
        batch = boto3.client("batch")
        found = batch.list_jobs(jobQueue=queue, filters=[{"name": "JOB_NAME", "values": ["dagster*"]}])[
            "jobSummaryList"
        ]
        ids = [job["jobId"] for job in found]
        return sorted(batch.describe_jobs(jobs=ids)["jobs"], key=lambda j: j["createdAt"]) if ids else []


def execute_run(home: str, run_id: str, how: str, definitions: str = "remote") -> int:
    """What a run worker does: `dagster api execute_run`, or `resume_run`."""
    from dagster._grpc.impl import core_execute_run

    with capture_interrupts(), dg.DagsterInstance.from_config(home) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        for _ in core_execute_run(reconstructable(definitions), run, instance, False, how == "resume"):
            pass
    return 0


def kinds(result: dg.JobExecutionResult, instance: dg.DagsterInstance, step: str) -> list[str]:
    """The types of a step's stored events, without what tells of the launching."""
    entries = instance.all_logs(result.run_id)
    found = [e.dagster_event.event_type_value for e in entries if e.dagster_event and e.step_key == step]
    return [kind for kind in found if kind not in ("ENGINE_EVENT",)]


def messages(result: dg.JobExecutionResult, instance: dg.DagsterInstance) -> list[str]:
    """What the run's engine events say."""
    return [
        e.dagster_event.message or ""
        for e in instance.all_logs(result.run_id)
        if e.dagster_event and e.dagster_event.event_type_value == "ENGINE_EVENT"
    ]


def ran(folder: Path) -> Counter[str]:
    """How often each `behave` step ran."""
    return Counter(file.name.split(".")[0] for file in folder.glob("*"))
