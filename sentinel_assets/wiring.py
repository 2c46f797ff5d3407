"""What the seven stages have in common as Dagster assets: how they are declared, how they report, how they fail."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pandas as pd

from batch_step import in_job, told
from resources.artifacts import ArtifactStore
from resources.generations import KeptResults
from resources.provided import AnalysisLog
from resources.settings import Settings
from sentinel_assets import failure_reasons
from sentinel_assets.automation import out_of_date
from sentinel_assets.filming import Filming
from sentinel_assets.instance import GPU_POOL
from sentinel_assets.interrupts import heed, remembered
from sentinel_assets.notes import NotedLog, VideoLog
from sentinel_assets.partitions import videos
from sentinel_assets.recipes import data_version, inputs_digest, recipe, table_digest
from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.tables import TABLES, Table

OWNERS = ["team:vision"]

ORIGIN_TAG = "sentinel/origin"
"""Tag of a run: who asked for it, such as an upload."""
CONTENT_TAG = "sentinel/etag"
"""Tag of a run: the etag of the content that it is for. A run without it takes what is there."""
MODIFIED_TAG = "sentinel/modified"
"""Tag of a run: when that content was uploaded, s since the epoch. What is uploaded once more, is so later."""

PROGRESS: Mapping[str, tuple[int, int]] = {
    # Which part of a video's 0..100 belongs to which stage: about the share of the time it takes on a CPU.
    "detections": (1, 50),
    "demographics": (50, 55),
    "poses": (55, 85),
    "behaviors": (85, 88),
    "descriptions": (88, 90),
    "embeddings": (90, 96),
    "events": (96, 99),
}

ALWAYS_ANEW = "sentinel/anew"
"""Tag of a run that computes even what is kept: `sentinel analyze --again`."""

_RETRIES, _RETRY_AFTER_S = 2, 3.0


def stage_asset(
    name: str,
    *,
    kinds: set[str],
    group: str,
    description: str,
    deps: Sequence[dg.AssetSpec] = (),
    on_gpu: bool = False,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`@dg.asset` with what the stages share: a video a partition, the recipe as code version, the schema.

    `on_gpu`: the stage asks for the resource `gpu`, and runs wherever that has it run.
    """
    declare = dg.asset(
        name=name,
        deps=deps,
        partitions_def=videos,
        group_name=group,
        kinds=kinds,
        owners=OWNERS,
        description=description,
        code_version=recipe(name).digest,
        io_manager_key="artifacts",
        metadata={"dagster/column_schema": column_schema(TABLES[name]), "recipe": recipe(name).ingredients()},
        hooks={record_failure},
        automation_condition=out_of_date(),
        pool=GPU_POOL if on_gpu else None,
        # A job may be killed from outside, and the kernel does that as it does for want of memory: tried once more.
        retry_policy=dg.RetryPolicy(max_retries=1, delay=_RETRY_AFTER_S) if on_gpu else None,
    )
    return lambda function: declare(_asking_for("gpu", function) if on_gpu else function)


def _asking_for(resource: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with one more parameter, by which Dagster provides a resource that the function has no use for.
    Dagster takes no `required_resource_keys` of a function that has resources among its parameters."""

    @functools.wraps(function)
    def asking(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop(resource, None)
        return function(*args, **kwargs)

    signature = inspect.signature(function)
    extra = inspect.Parameter(resource, inspect.Parameter.KEYWORD_ONLY, annotation=dg.ResourceParam[object])
    asking.__signature__ = signature.replace(parameters=[*signature.parameters.values(), extra])  # type: ignore[attr-defined]
    return asking


def picture(markdown: str) -> dg.MarkdownMetadataValue:
    """A picture or table as the UI shows it: behind a button, in the event log itself."""
    return dg.MetadataValue.md(markdown)


def column_schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                str(c.type),
                description=c.description,
                constraints=dg.TableColumnConstraints(nullable=c.nullable),
            )
            for c in table.columns
        ]
    )


@dataclass
class StageRun:
    """One stage at work on one video: its progress goes to the video's row, its remarks to the run's page."""

    context: dg.AssetExecutionContext
    log: VideoLog
    name: str
    video: str
    """What people call the video."""
    heed_interrupts: Callable[[], None] = heed
    metadata: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    _inputs: str | None = None
    _content: str | None = None

    @property
    def partition(self) -> str:
        return str(self.context.partition_key)

    @property
    def content(self) -> str | None:
        """The etag of the content that this run is for, where it is for a certain one."""
        return self.context.run.tags.get(CONTENT_TAG)

    def progress(self, fraction: float) -> None:
        """`fraction` of this stage is done, [0, 1]."""
        self.heed_interrupts()
        first, last = PROGRESS[self.name]
        self.log.progress(self.partition, self.context.run.run_id, first + (last - first) * fraction, self.name)

    def warn(self, text: str) -> None:
        """Something about this video that a person should know, though the analysis goes on."""
        self.context.log.warning(text)
        self.log.add_warning(self.partition, text)
        self.metadata["warning"] = text

    def table(self, make: Callable[[], pd.DataFrame], **inputs: pd.DataFrame | str) -> pd.DataFrame:
        """What `make` makes of these inputs by today's recipe; where that was made before, it is taken from there.

        `inputs`: the table of each asset that it is made from, or the text that stands for it (of `video`: the etag).
        So an upgrade that is taken back computes nothing, nor does what follows on an output that came out the same.
        """
        name, made = self.name, recipe(self.name).digest
        self._inputs = inputs_digest(inputs)
        kept = KeptResults(ArtifactStore(Settings.from_env().artifacts), TABLES[name], self.partition)
        frame = None if ALWAYS_ANEW in self.context.run.tags else kept.read(made, self._inputs)
        self.metadata["taken from before"] = frame is not None
        if frame is None:
            frame = make()
            self._content = kept.write(made, self._inputs, frame)
        else:
            self._content = table_digest(name, frame)
        return frame

    def result(self, frame: pd.DataFrame, **metadata: Any) -> dg.MaterializeResult[pd.DataFrame]:
        """The finished output: rows, the data version that says by which recipe, and what the UI shows of it."""
        self.progress(1.0)
        assert self._content is not None, "made by `table`"
        assert self._inputs is not None
        return dg.MaterializeResult(
            value=frame,
            data_version=dg.DataVersion(data_version(self.name, self._content, self._inputs)),
            metadata={
                "video": self.video,
                "recipe": recipe(self.name).digest,
                "seconds": round(time.monotonic() - self.started, 3),
                **self.metadata,
                **metadata,
            },
        )


@contextmanager
def stage_run(context: dg.AssetExecutionContext, log: AnalysisLog) -> Iterator[StageRun]:
    """Run a stage's body: announce it, and turn what we raise on purpose into a failure that a person can act on."""
    name = context.asset_key.path[-1]
    with _not_tried_again(), remembered() as heed_interrupts, acting_on_errors():
        if not in_job():  # else whoever launched this step has
            announce(name, context.partition_key, context.run, log)
        told = NotedLog(context, PROGRESS[name][1]) if in_job() else log
        run = StageRun(context, told, name, log.name_of(context.partition_key), heed_interrupts)
        run.progress(0.0)
        yield run


OWN_SAMPLING = "sampling"
"""What a job is told of a video whose camera has a sampling of its own."""


def own_sampling(partition: str, log: AnalysisLog) -> Mapping[str, Any]:
    """How the video's camera wants it sampled, where it does not want it as all are."""
    if in_job():
        return dict(told().get(OWN_SAMPLING, {}))
    return Filming.of(*log.address_of(partition)).sampling


@contextmanager
def loading(*ask: Callable[[], object]) -> Iterator[None]:
    """In a job, what is asked for is built by another thread meanwhile: models load while footage is downloaded. Who
    asks for the same waits for it, and is told what is wrong with it."""
    if not in_job():
        yield
        return
    with ThreadPoolExecutor(1, thread_name_prefix="loading") as thread:
        for each in ask:
            thread.submit(each)
        yield


class RunInterrupted(dg.DagsterError, dg.DagsterExecutionInterruptedError):
    """The run is asked to end. As a DagsterError it passes by the retry policy, by which Dagster would else run the
    interrupted step once more, in a run that nobody wants."""


@contextmanager
def _not_tried_again() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as interrupt:
        raise RunInterrupted("interrupted") from interrupt


def announce(stage: str, partition: str, run: dg.DagsterRun, log: AnalysisLog) -> None:
    """Say that this run analyses the video from now on, and by what recipe the stage does its part."""
    log.begin(partition, run.run_id, run.tags.get(CONTENT_TAG))
    made = recipe(stage)
    log.record_recipe(made.digest, asset=stage, profile=made.profile, ingredients=made.ingredients())


@contextmanager
def acting_on_errors() -> Iterator[None]:
    """A SentinelError becomes a retry where trying again can help, else a failure without retries."""
    try:
        yield
    except SentinelError as error:
        if error.is_retryable:
            raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=_RETRY_AFTER_S) from error
        raise dg.Failure(
            description=str(error),
            metadata={"what": error.what, "where": error.where, "remedy": error.remedy},
            allow_retries=False,
        ) from error


@dg.failure_hook(required_resource_keys={"analysis_log"})
def record_failure(context: dg.HookContext) -> None:
    """Write on the video's row why its analysis failed."""
    run = context.instance.get_run_by_id(context.run_id)
    partition = run.tags.get("dagster/partition") if run else None
    if partition:
        if context.op_exception is not None:
            reason = failure_reasons.of_exception(context.op_exception)
        else:  # it was raised in a job, and what is known of it here stands in the step's event
            reason = failure_reasons.of_event(context.instance, context.run_id, context.step_key)
        context.resources.analysis_log.fail(partition, context.run_id, f"{context.op.name}: {reason}")
