"""Running a referenced step in this process, as Dagster would have, on a throw-away instance."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from batch_step.dagster_internals import (
    KnownExecutionState,
    PlanExecutionContextManager,
    ReconstructableJob,
    create_execution_plan,
    dagster_event_sequence_for_step,
    external_instance_from_step_run_ref,
)
from batch_step.notes import running_a_job
from batch_step.partitions import relayed_changes
from batch_step.reference import StepReference


def run_step(
    reference: StepReference,
    on_entry: Callable[[dg.EventLogEntry, BaseException | None], object],
    on_loaded: Callable[[], object],
) -> None:
    """Runs the step; `on_entry` gets each event log entry, and with the final one what the user's code raised;
    `on_loaded` is called when definitions and resources are there.

    Differs from Dagster's `run_step_from_ref` in that all partitions are there before the context is built, that
    resources are torn down at the end, and that the console stays quiet (each event would stand in the log twice).
    """
    step = reference.step
    step_context: dg.StepExecutionContext | None = None

    def listen(entry: dg.EventLogEntry) -> None:
        known = None if step_context is None else step_context.step_exception
        # Dagster keeps no exception of a step that it will retry, but makes that event while it handles one.
        on_entry(entry, known or sys.exc_info()[1])

    instance = external_instance_from_step_run_ref(step, event_listener_fn=listen)
    for name, keys in reference.partitions.items():
        instance.add_dynamic_partitions(name, keys)
    job = _selected_job(step.recon_job, step.dagster_run)
    run_config = _quiet(job, step.run_config)
    known_state = step.known_state or KnownExecutionState()
    plan = create_execution_plan(
        job,
        run_config,
        step_keys_to_execute=[step.step_key],
        known_state=known_state,
        repository_load_data=job.repository.repository_load_data,
    )
    manager = PlanExecutionContextManager(
        retry_mode=step.retry_mode.for_inner_plan(),
        job=job,
        execution_plan=plan,
        run_config=run_config,
        dagster_run=step.dagster_run,
        instance=instance,
    )
    for _ in manager.prepare_context():
        pass
    context = manager.get_context()
    try:
        on_loaded()
        step_context = context.for_step(plan.get_step_by_key(step.step_key), known_state)  # type: ignore[arg-type]
        with running_a_job(reference.told), relayed_changes(step_context):
            for _ in dagster_event_sequence_for_step(step_context, force_local_execution=True):
                pass
    finally:
        for _ in manager.shutdown_context():
            pass


def _selected_job(job: ReconstructableJob, run: dg.DagsterRun) -> ReconstructableJob:
    if run.resolved_op_selection or run.asset_selection:
        return job.get_subset(op_selection=run.resolved_op_selection, asset_selection=run.asset_selection)
    return job


def _quiet(job: ReconstructableJob, run_config: Mapping[str, Any]) -> dict[str, Any]:
    """The run's config with the default console logger off, unless the run configures loggers of its own."""
    loggers = job.get_definition().loggers
    if run_config.get("loggers") or (loggers and "console" not in loggers):
        return dict(run_config)
    return {**run_config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
