"""Every private import of Dagster that this package makes.

`tests/batch_step/test_dagster_internals.py` stands over them: it says what each must do, so
that an upgrade that changes one fails there and not in somebody's lineage.
"""

from __future__ import annotations

import warnings

import dagster as dg

with warnings.catch_warnings():
    # "Superseded" is Dagster's word for: there is Pipes, and "no plan to remove this functionality" (its issue 27508).
    warnings.simplefilter("ignore", dg.SupersessionWarning)
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluation,
        AssetCheckEvaluationTargetMaterializationData,
    )
    from dagster._core.definitions.data_version import (
        CODE_VERSION_TAG,
        DATA_VERSION_IS_USER_PROVIDED_TAG,
        DATA_VERSION_TAG,
        compute_logical_data_version,
    )
    from dagster._core.definitions.partitions.context import partition_loading_context
    from dagster._core.definitions.reconstruct import ReconstructableJob
    from dagster._core.definitions.step_launcher import StepRunRef
    from dagster._core.events import EngineEventData, StepMaterializationData
    from dagster._core.execution.api import create_execution_plan
    from dagster._core.execution.context_creation_job import PlanExecutionContextManager
    from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step
    from dagster._core.execution.plan.execute_step import (
        _build_data_version_tags as build_data_version_tags,
    )
    from dagster._core.execution.plan.execute_step import (
        _get_code_version as get_code_version,
    )
    from dagster._core.execution.plan.execute_step import (
        _get_input_provenance_data as get_input_provenance_data,
    )
    from dagster._core.execution.plan.external_step import (
        external_instance_from_step_run_ref,
        step_context_to_step_run_ref,
    )
    from dagster._core.execution.plan.objects import ErrorSource, StepFailureData
    from dagster._core.execution.plan.state import KnownExecutionState
    from dagster._core.execution.plan.step import ExecutionStep
    from dagster._core.execution.plan.utils import RetryRequestedFromPolicy
    from dagster._core.execution.retries import RetryMode
    from dagster._core.executor.child_process_executor import (
        _execute_command_in_child_process as execute_command_in_child_process,
    )
    from dagster._utils.interrupts import capture_interrupts
    from dagster_shared.record import replace as replace_record

__all__ = [
    "CODE_VERSION_TAG",
    "DATA_VERSION_IS_USER_PROVIDED_TAG",
    "DATA_VERSION_TAG",
    "AssetCheckEvaluation",
    "AssetCheckEvaluationTargetMaterializationData",
    "EngineEventData",
    "ErrorSource",
    "ExecutionStep",
    "KnownExecutionState",
    "PlanExecutionContextManager",
    "ReconstructableJob",
    "RetryMode",
    "RetryRequestedFromPolicy",
    "StepFailureData",
    "StepMaterializationData",
    "StepRunRef",
    "build_data_version_tags",
    "capture_interrupts",
    "compute_logical_data_version",
    "create_execution_plan",
    "dagster_event_sequence_for_step",
    "execute_command_in_child_process",
    "external_instance_from_step_run_ref",
    "get_code_version",
    "get_input_provenance_data",
    "partition_loading_context",
    "replace_record",
    "step_context_to_step_run_ref",
]
