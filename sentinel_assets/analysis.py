"""One video through the asset graph, here and now: registered, and what is out of date made again."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import dagster as dg

from resources.footage import FootageRecord, describe_file
from resources.warehouse import Video
from resources.weights import Catalogue
from sentinel_assets.assets.video import video_materialization
from sentinel_assets.filming import Filming, sampling_digest
from sentinel_assets.freshness import DEPENDENCIES, Output, latest_output, out_of_date
from sentinel_assets.interrupts import heed
from sentinel_assets.partitions import videos
from sentinel_assets.vision.errors import ArtifactMissing, SentinelError, StoreRejected, printable
from sentinel_assets.vision.frames import Clip, probe
from sentinel_assets.vision.suitability import require_suitable
from sentinel_assets.vision.tables import TABLES
from sentinel_assets.wiring import ALWAYS_ANEW, RunInterrupted
from sentinel_assets.workplace import Workplace, records_errors

_HOST, _PID = "sentinel/host", "sentinel/pid"


class Watcher(Protocol):
    """Is told what goes on, so that a person can see it."""

    def registered(self, row: Video) -> None: ...

    def fetching(self, model: str, fraction: float) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What became of one video. `made` are the assets that were materialized: none where all was up to date."""

    video: Video
    error: str | None
    made: tuple[str, ...]
    seconds: float


def analyse(path: Path, place: Workplace, watcher: Watcher, *, again: bool = False) -> Outcome:
    """Materialize what is out of date for this file (`again`: everything). A fault of the footage, of the weights or of
    the disk is told on the video's row and in the outcome.

    Raises StoreError where the database is the matter, which no row could tell of.
    """
    heed()
    started = time.monotonic()
    path = _absolute(path)
    row = place.warehouse.register_video(printable(str(path)), name=printable(path.name))
    watcher.registered(row)
    with place.warehouse.hold_video(row.partition_key):
        try:
            with records_errors():
                made, fault = _materialize(row, path, place, watcher, again=again)
        except SentinelError as error:
            # Where the database itself is the matter this raises in its turn, and the command says so.
            place.warehouse.record_failure(row.partition_key, str(error))
            return Outcome(_reread(place, row), str(error), (), time.monotonic() - started)
        return Outcome(_reread(place, row), fault, tuple(made), time.monotonic() - started)


def _materialize(
    row: Video, path: Path, place: Workplace, watcher: Watcher, *, again: bool
) -> tuple[Sequence[str], str | None]:
    """The assets that were to be made, and why not all of them were."""
    from sentinel_assets.definitions import definitions_without_batch

    partition = row.partition_key
    record = describe_file(path)
    clip = probe(path)
    require_suitable(path, clip, accept_truncated=place.settings.accept_truncated)
    _register(row, record, clip, place)
    _close_abandoned_runs(partition, place.instance)
    assets = list(DEPENDENCIES) if again else _stale(row, place)
    if not assets:
        if row.status != "completed":
            place.warehouse.record_completed(partition)
        return assets, None
    fetch_weights(place.settings.profile, watcher.fetching)
    job = definitions_without_batch(place.settings).resolve_implicit_global_asset_job_def()
    run_id = str(uuid.uuid4())
    place.warehouse.begin_analysis(partition, run_id)
    result = job.execute_in_process(
        instance=place.instance,
        run_id=run_id,
        partition_key=partition,
        asset_selection=[dg.AssetKey(a) for a in assets],
        tags={_HOST: socket.gethostname(), _PID: str(os.getpid())} | ({ALWAYS_ANEW: "1"} if again else {}),
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )
    if result.success:
        return assets, None
    if _was_interrupted(result):
        place.warehouse.record_failure(partition, "interrupted; run the same command again", run_id)
        raise KeyboardInterrupt
    reason = _failure_reason(result)
    after = _reread(place, row)
    if after.status == "failed" and after.error:
        return assets, after.error  # written by the step that failed
    # Without effect where the database was gone for a while, our lock with it, and a newer analysis has begun.
    place.warehouse.record_failure(partition, reason, run_id)
    return assets, reason


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:  # ~name where nobody has that name: a file may
        return path.absolute()


def fetch_weights(profile: str, on_progress: Callable[[str, float], None]) -> dict[str, Path]:
    """All weights of the profile, verified; what is not here yet is fetched, before a run would wait for it unseen.
    `on_progress` is given the model's name and the fraction that is there.

    Raises ModelError first where a licence is not accepted, or a file has to be pulled by a person."""
    catalogue = Catalogue.load()
    catalogue.require_usable(profile)
    return _each(catalogue, profile, catalogue.fetch, on_progress)


def pull_weights(
    profile: str,
    on_progress: Callable[[str, float], None],
    *,
    licences: Sequence[str] = (),
    mirror: str | None = None,
) -> dict[str, Path]:
    """As `fetch_weights`, once `licences` are accepted; files whose sha256 nobody knows are taken as they come, and
    locked. `mirror`: where to look first (default: the environment's)."""
    catalogue = Catalogue.load(mirror=mirror)
    catalogue.accept(licences)
    catalogue.require_usable(profile, to_pull=True)
    return _each(catalogue, profile, catalogue.pull, on_progress)


def _each(
    catalogue: Catalogue, profile: str, get: Callable[..., Path], on_progress: Callable[[str, float], None]
) -> dict[str, Path]:
    return {
        entry.name: get(entry, lambda fraction, name=entry.name: on_progress(name, fraction))
        for entry in catalogue.members(profile)
    }


def _register(row: Video, record: FootageRecord, clip: Clip, place: Workplace) -> None:
    """Put the video's facts where each part looks for them; each write is idempotent, so a kill between them heals."""
    partition = row.partition_key
    place.warehouse.register_video(
        row.uri,
        name=record.name,
        etag=record.etag,
        size_bytes=record.size_bytes,
        duration_s=clip.duration_s,
        width=clip.width,
        height=clip.height,
        codec=clip.codec,
    )
    place.footage.register(partition, record)
    if not place.instance.has_dynamic_partition(str(videos.name), partition):
        place.instance.add_dynamic_partitions(str(videos.name), [partition])
    known = latest_output(place.instance, "video", partition)
    if known is None or known.version != record.etag:
        place.instance.report_runless_asset_event(video_materialization(partition, record, clip))


def _stale(row: Video, place: Workplace) -> Sequence[str]:
    partition = row.partition_key

    def is_stored(asset: str, output: Output) -> bool:
        if asset == "events" and place.warehouse.count_events(row.id) != output.rows:
            return False
        # Blocking checks run after their asset was stored: a failed one, or a kill before it, must not be passed by.
        return _is_readable(asset, partition, place) and _is_checked(asset, partition, place.instance)

    outputs = {name: latest_output(place.instance, name, partition) for name in ("video", *DEPENDENCIES)}
    filming = Filming.of(row.name, row.uri)
    outputs["camera"] = Output(recipe="", version=filming.digest)
    outputs["sampling"] = Output(recipe="", version=sampling_digest(filming.sampling))
    return out_of_date(outputs, is_stored)


def _is_checked(asset: str, partition: str, instance: dg.DagsterInstance) -> bool:
    """Whether every blocking check of this asset has passed on its latest materialization."""
    from sentinel_assets.checks import blocking_checks

    keys = blocking_checks(asset)
    if not keys:
        return True
    latest = instance.event_log_storage.get_asset_check_partition_info(keys, partition_keys=[partition])
    passed = {one.check_key for one in latest if one.is_current and one.latest_execution_status.value == "SUCCEEDED"}
    return passed.issuperset(keys)


def _is_readable(asset: str, partition: str, place: Workplace) -> bool:
    """Whether the stored table is there and whole: what is not is made again."""
    try:
        place.artifacts.read_table(TABLES[asset], partition)
    except (ArtifactMissing, StoreRejected):
        return False
    return True


def _close_abandoned_runs(partition: str, instance: dg.DagsterInstance) -> None:
    """Runs of this video that still count as under way though we hold its lock: their process was killed."""
    under_way = dg.RunsFilter(
        tags={"dagster/partition": partition, _HOST: socket.gethostname()},
        statuses=[dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING],
    )
    for run in instance.get_runs(under_way):
        if not _is_alive(int(run.tags[_PID])):
            instance.report_run_failed(run, "The process that executed this run is gone; the video is analysed anew.")
            if instance.event_log_storage.supports_global_concurrency_limits:
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def _failure_reason(result: dg.ExecuteInProcessResult) -> str:
    for check in result.get_asset_check_evaluations():
        if check.blocking and not check.passed:
            asset = check.asset_key.to_user_string()
            return (
                f"{asset}: the check {check.check_name} failed. See what it found on the asset's page in the Dagster UI"
            )
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            return f"{event.step_key}: {' '.join(error.message.split()) if error else 'failed'}"
    return str(SentinelError("the run ended without a result", remedy="See the run's page in the Dagster UI"))


def _reread(place: Workplace, row: Video) -> Video:
    return place.warehouse.video(row.partition_key)


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Dagster tells of an interrupt as of the failure of the step that heeded it."""
    failures = (event.step_failure_data for event in result.all_events if event.is_step_failure)
    return any(failure.error and failure.error.cls_name == RunInterrupted.__name__ for failure in failures)
