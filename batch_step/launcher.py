"""The resource that assets ask for. A step that requires it runs as an AWS Batch job; with
`dg.ResourceDefinition.none_resource()` in its place the same step runs in process.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from batch_step.carriers import BACKFILL_TAG
from batch_step.cost import DEFAULT_PRICES
from batch_step.dagster_internals import ExecutionStep, ReconstructableJob
from batch_step.errors import ReferenceInvalid
from batch_step.jobs import BatchJobs
from batch_step.limits import MAX_PRIORITY
from batch_step.reference import CodeVersion, packages_of
from batch_step.step_launch import StepLaunch
from batch_step.terms import Terms

TAG = "batch_step/"
PRIORITY_TAG = "dagster/priority"
NORMAL_PRIORITY = 5_000
_TAGS = ("vcpus", "memory_mib", "gpus", "timeout_seconds", "queue", "job_definition", "reuse")

with warnings.catch_warnings():
    # Dagster prefers Pipes for new projects and has "no plan to remove" step launchers (its issue 27508). Pipes would
    # split each asset into two programs; why a launcher was chosen stands in this package's README.
    warnings.simplefilter("ignore", dg.SupersessionWarning)
    _StepLauncher = dg.StepLauncher


class BatchStepLauncher(dg.ConfigurableResource[Any], _StepLauncher):
    """Runs the step that requires it as an AWS Batch job, and leaves the records that the step in process would leave.

    Op tags of an asset override what is set here: `batch_step/vcpus`, `batch_step/memory_mib`, `batch_step/gpus`,
    `batch_step/timeout_seconds`, `batch_step/queue`, `batch_step/job_definition`, `batch_step/reuse`.
    """

    channel: str = Field(description="s3://bucket/prefix, or the absolute path of a folder that both sides see.")
    queue: str = Field(description="Name or ARN of the job queue.")
    job_definition: str = Field(description="Name, name:revision or ARN; its image holds this code location.")
    on_demand_queue: str | None = Field(default=None, description="Where to go when spot hosts keep being taken back.")
    reclaims_before_on_demand: int = Field(default=2, ge=1, description="Reclaims of one step that move it there.")
    reuse: Literal["run", "step"] = Field(
        default="step",
        description="'step': a job for each step. 'run': one job for a run's steps, so models stay loaded.",
    )
    idle_seconds: float = Field(default=60, gt=0, description="reuse='run': how long a job waits for the next step.")

    runs_per_job: int = Field(
        default=1,
        ge=1,
        description="reuse='run': how many runs of one backfill a job serves at most, one run after another.",
    )

    vcpus: float | None = Field(default=None, description="None: what the job definition says; so for the next two.")
    memory_mib: int | None = None
    gpus: int | None = None
    environment: dict[str, str] = Field(default={}, description="Set in the job, beside what its definition sets.")
    worker_command: list[str] = Field(default=["python", "-m", "batch_step.worker"])
    share: str | None = Field(
        default=None,
        description="Fair-share identifier of jobs, where the queue has a scheduling policy; another queue refuses it.",
    )
    backfill_share: str | None = Field(
        default=None, description="In its place for runs of a backfill, so that new work has a share of its own."
    )
    name_prefix: str = Field(default="dagster", description="Of job names; the reaper looks for it.")

    timeout_seconds: float | None = Field(
        default=None, gt=0, description="Of a step's code; Batch is told of two minutes more."
    )
    infrastructure_retries: int = Field(
        default=3,
        ge=0,
        description="How often a step is run again when a host or its job is lost; no RetryPolicy is charged.",
    )
    retry_delay_seconds: float = Field(default=5, ge=0, description="Before the first such retry; doubled each time.")
    stuck_after_seconds: float = Field(
        default=900, description="How long RUNNABLE may show one and the same reason; less than a boot kills good jobs."
    )
    lease_seconds: float = Field(
        default=30, gt=0, description="A job stops itself when the run worker has been silent for so long."
    )
    resume_seconds: float = Field(
        default=30, ge=0, description="How much longer it waits where Dagster resumes runs (max_resume_run_attempts)."
    )
    takeover_seconds: float = Field(
        default=20, gt=0, description="After so much silence a second run worker of the same run takes a step over."
    )

    follow_logs: bool = Field(default=True, description="Copy the job's log into the step's compute log.")
    poll_seconds: float = Field(default=1.0, gt=0, description="Between two looks at the channel.")
    describe_seconds: float = Field(default=5.0, gt=0, description="Between two DescribeJobs of this process.")
    unknown_after_seconds: float = Field(default=30.0, gt=0, description="When a job that Batch does not list is lost.")
    finish_grace_seconds: float = Field(default=10.0, description="For a job to end when its step is over.")

    code_packages: list[str] | None = Field(
        default=None, description="Packages whose sources must be the same on both sides; default: the code location's."
    )
    code_version: str | None = Field(
        default=None, description="In their place, a name that the image holds in BATCH_STEP_CODE_VERSION."
    )
    prices: dict[str, float] = Field(
        default=DEFAULT_PRICES, description="USD per host hour, by 'type/spot' and 'type/on-demand'."
    )

    def launch_step(self, step_context: dg.StepExecutionContext) -> Iterator[dg.DagsterEvent]:
        """Called by Dagster in the process that would have run the step."""
        return StepLaunch(
            step_context,
            self._terms(step_context),
            self.batch_jobs(),
            is_last=lambda has_failed: self._is_last(step_context, has_failed),
            on_event=lambda entry: self.on_event(step_context, entry),
        ).events()

    def on_event(self, step_context: dg.StepExecutionContext, entry: dg.EventLogEntry) -> None:
        """Override it to act on what a job tells while it runs: notes (`note_in`), observations, log lines.

        Called in the run worker with each entry of a step's job, in their order, with lineage of the host's instance,
        before it is stored; once more for what was stored when a run worker resumes a run. What is raised here fails
        the step.
        """

    def tells(self, step_context: dg.StepExecutionContext) -> dict[str, Any]:
        """Override it to tell the step what the host alone knows, as JSON types; the step reads it with `told`.

        Called once for each launch of a step, in the run worker. It lies in the channel with the step's reference: no
        place for secrets.
        """
        return {}

    def batch_jobs(self) -> BatchJobs:
        """The Batch calls to make; a seam for other clients."""
        return BatchJobs.from_environment()

    def _terms(self, context: dg.StepExecutionContext) -> Terms:
        tags, run_tags = own_tags(context.op.tags), context.dagster_run.tags
        return Terms(
            channel=self.channel,
            queue=tags.get("queue", self.queue),
            job_definition=tags.get("job_definition", self.job_definition),
            on_demand_queue=self.on_demand_queue,
            reclaims_before_on_demand=self.reclaims_before_on_demand,
            command=tuple(self.worker_command),
            environment=self.environment,
            share=self._share(run_tags),
            priority=scheduling_priority(run_tags),
            name_prefix=self.name_prefix,
            vcpus=_number(tags, "vcpus", self.vcpus),
            memory_mib=_whole(tags, "memory_mib", self.memory_mib),
            gpus=_whole(tags, "gpus", self.gpus),
            timeout_s=_number(tags, "timeout_seconds", self.timeout_seconds),
            infrastructure_retries=self.infrastructure_retries,
            retry_delay_s=self.retry_delay_seconds,
            shared=tags.get("reuse", self.reuse) == "run",
            steps=max(1, len(self._steps(context))),
            idle_s=self.idle_seconds,
            backfill=run_tags.get(BACKFILL_TAG) if self.runs_per_job > 1 else None,
            runs_per_job=self.runs_per_job,
            follow_logs=self.follow_logs,
            poll_s=self.poll_seconds,
            describe_every_s=self.describe_seconds,
            unknown_after_s=self.unknown_after_seconds,
            lease_s=self.lease_seconds,
            resume_s=self.resume_seconds if resumes_runs(context.instance) else 0.0,
            takeover_s=self.takeover_seconds,
            stuck_after_s=self.stuck_after_seconds,
            finish_grace_s=self.finish_grace_seconds,
            code=self._code_version(context),
            prices=self.prices,
            told=self.tells(context),
        )

    def _share(self, run_tags: Mapping[str, str]) -> str | None:
        of_backfill = self.backfill_share if BACKFILL_TAG in run_tags else None
        return of_backfill or self.share

    def _code_version(self, context: dg.StepExecutionContext) -> CodeVersion:
        if self.code_version is not None:
            return CodeVersion("named", self.code_version)
        if not isinstance(context.job, ReconstructableJob):
            raise ReferenceInvalid(
                "the run's job exists in this process only, so no other one can load it",
                remedy="Launch it from a code location; in `dg.materialize` give none_resource() for the launcher",
            )
        return CodeVersion.of_packages(self.code_packages or packages_of(context.job))

    @staticmethod
    def _steps(context: dg.StepExecutionContext) -> set[str]:
        """Keys of the run's steps that ask for a launcher, but for those of which Dagster learns only in the run."""
        job, chosen = context.job_def, context.dagster_run.step_keys_to_execute
        steps = set()
        for handle in job.graph.iterate_node_handles():
            node = job.get_node(handle)
            keys = getattr(node.definition, "required_resource_keys", None) or set()
            if node.name and any(isinstance(getattr(context.resources, k, None), _StepLauncher) for k in keys):
                steps.add(str(handle))
        return steps if chosen is None else steps & set(chosen)

    def _is_last(self, context: dg.StepExecutionContext, has_failed: bool) -> bool:
        """Whether no further step of the run will ask for a launcher, now that this one is over: each of the others is,
        too, or needs one that failed. Dynamic steps are not known: idle time ends those."""
        status = {s.step_key: s.status.value for s in context.instance.get_run_step_stats(context.run_id) if s.status}
        status[context.step.key] = "FAILURE" if has_failed else "SUCCESS"
        over = {key for key, value in status.items() if value in ("SUCCESS", "FAILURE", "SKIPPED")}
        barred = {key for key, value in status.items() if value == "FAILURE"}
        needs = {
            step.key: step.get_execution_dependency_keys()
            for step in context.execution_plan.step_dict_by_key.values()
            if isinstance(step, ExecutionStep)
        }
        while further := {key for key, needed in needs.items() if needed & barred} - barred:
            barred |= further
        return not self._steps(context) - over - barred


def resumes_runs(instance: dg.DagsterInstance) -> bool:
    """Whether Dagster's run monitoring starts a new run worker for a run that has lost its own."""
    attempts = instance.run_monitoring_enabled and instance.run_monitoring_max_resume_run_attempts
    return bool(attempts) and instance.run_launcher.supports_resume_run


def scheduling_priority(run_tags: Mapping[str, str]) -> int:
    """Batch's priority within a share, 0 to 9,999, of Dagster's, which is any whole number and 0 where none is set."""
    given = run_tags.get(PRIORITY_TAG, "0")
    try:
        return min(MAX_PRIORITY, max(0, NORMAL_PRIORITY + int(given)))
    except ValueError:
        return NORMAL_PRIORITY  # Dagster, too, takes a run whose priority is no number for one of priority 0


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """This package's tags of an op, without their prefix. Refuses names that it does not have."""
    mine = {k.removeprefix(TAG): v for k, v in tags.items() if k.startswith(TAG)}
    unknown = sorted(mine.keys() - set(_TAGS))
    if unknown:
        raise ValueError(f"op tag {TAG}{unknown[0]}: there are {', '.join(TAG + t for t in _TAGS)}")
    return mine


def _number(tags: Mapping[str, str], name: str, default: float | None) -> float | None:
    if name not in tags:
        return default
    try:
        return float(tags[name])
    except ValueError:
        raise ValueError(f"op tag {TAG}{name}={tags[name]!r} is not a number") from None


def _whole(tags: Mapping[str, str], name: str, default: int | None) -> int | None:
    value = _number(tags, name, None)
    if value is None:
        return default
    if value != int(value):
        raise ValueError(f"op tag {TAG}{name}={tags[name]!r} is not a whole number")
    return int(value)
