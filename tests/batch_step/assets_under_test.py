"""Toy assets of every shape that a step can have: `remote` runs the GPU ones by the launcher, `local` in process."""

# No `from __future__ import annotations`: Dagster reads the annotation of `context` as an object.
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from batch_step import BatchStepLauncher, in_job, note_in, send_note, told

# Checks by partition are a preview, backfill policies are in beta: the graph under test uses both on purpose.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)

videos = dg.DynamicPartitionsDefinition(name="toy_videos")
ON_GPU = {"required_resource_keys": {"gpu"}}
GPU = {**ON_GPU, "code_version": "1"}  # without one, versions depend on the run's id and no two runs compare


class FolderIOManager(dg.ConfigurableIOManager):
    """One JSON file for each asset and partition, wherever it is read or written."""

    base: str

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        keys = context.asset_partition_keys if context.has_asset_partitions else [""]
        for key in keys:
            path = self._path(context.asset_key, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(obj[key] if len(keys) > 1 else obj))
        context.add_output_metadata({"files": len(keys)})

    def load_input(self, context: dg.InputContext) -> Any:
        if not context.has_asset_partitions:
            return json.loads(self._path(context.asset_key, "").read_text())
        read = {key: json.loads(self._path(context.asset_key, key).read_text()) for key in context.asset_partition_keys}
        return next(iter(read.values())) if len(read) == 1 and context.has_partition_key else read

    def _path(self, key: dg.AssetKey, partition: str) -> Path:
        return Path(self.base) / key.to_python_identifier() / f"{partition or 'all'}.json"


@dg.asset(partitions_def=videos, code_version="1")
def frames(context: dg.AssetExecutionContext) -> list[int]:
    """Upstream of most; runs on the host."""
    return [len(context.partition_key)]


@dg.asset(partitions_def=videos, **GPU)
def plain(context: dg.AssetExecutionContext) -> None:
    context.log.info("hello from plain")
    context.add_output_metadata({"people": 3})


@dg.asset(partitions_def=videos, **GPU)
def boxes(context: dg.AssetExecutionContext, frames: list[int]) -> list[int]:
    """An input and an output through an IO manager."""
    context.add_asset_metadata({"length": len(frames)}, partition_key=context.partition_key)
    return [x + 1 for x in frames]


@dg.asset(**GPU)
def fan_in(context: dg.AssetExecutionContext, frames: dict[str, list[int]]) -> dict[str, int]:
    """Unpartitioned, over all partitions."""
    context.add_output_metadata({"videos": dg.MetadataValue.json(sorted(frames))})
    return {key: value[0] for key, value in frames.items()}


@dg.asset(partitions_def=videos, backfill_policy=dg.BackfillPolicy.single_run(), **GPU)
def ranged(context: dg.AssetExecutionContext, frames: Any) -> Any:
    """All partitions of a run in one step."""
    keys = list(context.partition_keys)
    context.add_output_metadata({"keys": dg.MetadataValue.json(keys)})
    read = frames if isinstance(frames, dict) else {keys[0]: frames}
    return dict(read) if len(keys) > 1 else read[keys[0]]


@dg.asset(partitions_def=videos, backfill_policy=dg.BackfillPolicy.single_run(), **GPU)
def bare() -> None:
    """No input, so that nothing but the run tells its partitions."""


@dg.multi_asset(
    specs=[
        dg.AssetSpec("part_a", partitions_def=videos, skippable=True, code_version="1", deps=[frames]),
        dg.AssetSpec("part_b", partitions_def=videos, skippable=True, code_version="1", deps=["part_a"]),
        dg.AssetSpec("part_c", partitions_def=videos, skippable=True, code_version="1"),
    ],
    can_subset=True,
    **ON_GPU,
)
def parts(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """Some of several assets in one step, one of which depends on another."""
    for key in sorted(context.selected_asset_keys):
        yield dg.MaterializeResult(asset_key=key, metadata={"of": len(context.selected_asset_keys)})


@dg.asset(
    partitions_def=videos,
    check_specs=[
        dg.AssetCheckSpec("has_people", asset="checked", blocking=True, partitions_def=videos),
        dg.AssetCheckSpec("is_long", asset="checked"),
    ],
    **GPU,
)
def checked(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """One blocking check that a partition named 'empty...' fails, one warning."""
    people = 0 if context.partition_key.startswith("empty") else 2
    return dg.MaterializeResult(
        check_results=[
            dg.AssetCheckResult(check_name="has_people", passed=people > 0, metadata={"people": people}),
            dg.AssetCheckResult(check_name="is_long", passed=False, severity=dg.AssetCheckSeverity.WARN),
        ]
    )


@dg.asset(partitions_def=videos, deps=[checked])
def after_check(context: dg.AssetExecutionContext) -> None:
    """Skipped when the blocking check fails."""


@dg.asset_check(asset=plain, required_resource_keys={"gpu"}, name="alone", partitions_def=videos)
def alone() -> dg.AssetCheckResult:
    """A step that is nothing but a check."""
    return dg.AssetCheckResult(passed=True, metadata={"seen": 1})


@dg.asset(partitions_def=videos, **GPU)
def observed(context: dg.AssetExecutionContext) -> None:
    context.log_event(dg.AssetObservation("observed", partition=context.partition_key, metadata={"done": 0.5}))


scenes = dg.DynamicPartitionsDefinition(name="toy_scenes")


@dg.asset(partitions_def=videos, **GPU)
def scene_list(context: dg.AssetExecutionContext) -> None:
    """Adds partitions for others, takes one back, and records something of a new one."""
    names = [f"{context.partition_key}-{n}" for n in (1, 2, 3)]
    context.instance.add_dynamic_partitions("toy_scenes", names)
    context.instance.delete_dynamic_partition("toy_scenes", names[1])
    assert context.instance.get_dynamic_partitions("toy_scenes") == [names[0], names[2]]
    context.log_event(dg.AssetMaterialization("scene", partition=names[0]))


@dg.asset(partitions_def=videos, deps=[frames], **GPU)
def versioned(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Says its data version itself."""
    return dg.MaterializeResult(data_version=dg.DataVersion("recipe-1:abc"))


@dg.asset(partitions_def=videos, retry_policy=dg.RetryPolicy(max_retries=1, delay=0), **GPU)
def retried(context: dg.AssetExecutionContext) -> None:
    """Fails at the first attempt."""
    if context.retry_number == 0:
        raise ValueError("the first attempt fails")


@dg.asset(partitions_def=videos, **GPU)
def failing(context: dg.AssetExecutionContext) -> None:
    raise dg.Failure("no people in this video", metadata={"path": "x.mp4"})


@dg.asset(partitions_def=videos, deps=[failing], **GPU)
def after_failing() -> None:
    """Never begins."""


@dg.asset(partitions_def=videos, **GPU)
def raising(context: dg.AssetExecutionContext) -> None:
    try:
        [].pop()
    except IndexError as error:
        raise ValueError("wrapped") from error


@dg.asset(partitions_def=videos, output_required=False, **GPU)
def skipping(context: dg.AssetExecutionContext):
    """Yields nothing, so what depends on it is skipped."""
    if context.partition_key == "never":
        yield dg.Output(1)


@dg.asset(partitions_def=videos, **GPU)
def after_skip(skipping: int) -> None: ...


class Listening(BatchStepLauncher):
    """Tells each step its name, and writes down each note of a job, where the test and the job look."""

    heard: str = ""

    def tells(self, step_context: dg.StepExecutionContext) -> dict[str, Any]:
        return {"step": step_context.step.key}

    def on_event(self, step_context: dg.StepExecutionContext, entry: dg.EventLogEntry) -> None:
        if (note := note_in(entry)) is not None and self.heard:
            with Path(self.heard).open("a") as file:
                file.write(f"{json.dumps(note)}\n")


class Behavior(dg.Config):
    """What the step is to do, for tests of what can go wrong."""

    folder: str = ""  # where it leaves a file each time that it runs
    sleep_s: float = 0
    print_lines: int = 0
    die: str = ""  # how, on the first run only
    die_always: bool = False
    ignore_interrupt: bool = False


class NotAVideo(Exception):
    is_retryable = False


def behave(config: Behavior, name: str) -> None:
    runs = 0
    if config.folder:
        folder = Path(config.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.{time.time_ns()}.{os.getpid()}").touch()
        runs = len(list(folder.glob(f"{name}.*")))
    for number in range(config.print_lines):
        print(f"line {number}")
    deadline = time.monotonic() + config.sleep_s
    while time.monotonic() < deadline:
        time.sleep(0.05)
    if config.die and (runs <= 1 or config.die_always):
        die(config.die)


def die(how: str) -> None:
    sys.stdout.flush()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segv":
        os._exit(139)
    if how == "silently":
        os._exit(0)
    if how == "cuda memory":
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    if how == "gpu lost":
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
    if how == "disk":
        raise OSError(28, "No space left on device")
    if how == "bad input":
        raise NotAVideo("clip.mp4 is not a video")
    if how == "bad input, ask for another try":
        raise dg.RetryRequested(max_retries=1) from NotAVideo("clip.mp4 is not a video yet")
    if how == "interrupt":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    if how == "exit":
        sys.exit(3)
    raise ValueError(how)


@dg.asset(**GPU)
def behaving(context: dg.AssetExecutionContext, config: Behavior) -> None:
    behave(config, "behaving")


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=0), **GPU)
def persisting(context: dg.AssetExecutionContext, config: Behavior) -> None:
    behave(config, "persisting")


@dg.asset(**GPU)
def noting(context: dg.AssetExecutionContext, config: Behavior) -> None:
    """Tells its host something, and goes on when the host has heard it."""
    if not in_job():
        return
    send_note(context, "half of it is done", {"done": 0.5, "of": ["a", "나"], "was told": dict(told())})
    deadline = time.monotonic() + 60
    while not Path(config.folder).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the host did not hear it while this ran")
        time.sleep(0.05)


class Lingering(dg.ConfigurableResource):  # type: ignore[type-arg]
    """On a job it takes a minute to close."""

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        if "AWS_BATCH_JOB_ID" in os.environ:
            time.sleep(60)


@dg.asset(required_resource_keys={"gpu", "lingering"})
def hanging(context: dg.AssetExecutionContext) -> None:
    """Succeeds, in a process that does not end."""


@dg.op(out=dg.DynamicOut(io_manager_key="pickles"))
def split() -> Iterator[dg.DynamicOutput[str]]:
    for name in ("left", "right"):
        yield dg.DynamicOutput(name, mapping_key=name)


@dg.op(out=dg.Out(io_manager_key="pickles"), required_resource_keys={"gpu"})
def each(context: dg.OpExecutionContext, part: str) -> str:
    return f"{part} by {context.get_step_execution_context().step.key}"


@dg.op
def join(parts: list[str]) -> list[str]:
    return sorted(parts)


@dg.graph_asset
def mapped() -> Any:
    """Steps of which Dagster learns only in the run: their keys hold brackets."""
    return join(split().map(each).collect())


_LOADED: list[int] = []


@dg.asset(**GPU)
def first(context: dg.AssetExecutionContext, config: Behavior) -> int:
    """With the next two: a run whose steps may share a job. What is loaded once stays loaded."""
    return _load_model(config, "first")


@dg.asset(**GPU)
def second(first: int, config: Behavior) -> int:
    return _load_model(config, "second")


@dg.asset(**GPU)
def third(second: int, config: Behavior) -> int:
    return _load_model(config, "third")


@dg.asset
def between(second: int) -> int:
    """Runs on the host."""
    return second


def _load_model(config: Behavior, name: str) -> int:
    behave(config, name)
    _LOADED.append(os.getpid())
    return len(_LOADED)


ASSETS = [
    frames, plain, boxes, fan_in, ranged, bare, parts, checked, after_check, observed, scene_list, versioned, retried,
    failing, after_failing, raising, skipping, after_skip, behaving, persisting, noting, hanging, mapped, first,
    second, third, between,
]  # fmt: skip


_RESOURCES: dict[str, Any] = {
    "io_manager": FolderIOManager(base=""),
    "lingering": Lingering(),
    "pickles": dg.FilesystemIOManager(),
}


def _definitions(launcher: Any) -> dg.Definitions:
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=[alone],
        resources={"gpu": launcher, **_RESOURCES},
        executor=dg.in_process_executor,
    )


local = _definitions(dg.ResourceDefinition.none_resource())
remote = _definitions(Listening(channel="", queue="gpu", job_definition="toy"))
remote_by_process = dg.Definitions(
    assets=ASSETS,
    resources={
        "gpu": Listening(channel="", queue="gpu", job_definition="toy"),
        **_RESOURCES,
    },
    executor=dg.multiprocess_executor,
)
