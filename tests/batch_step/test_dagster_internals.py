"""What this package takes from inside Dagster does what it relies on; an upgrade that changes it fails here by name."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    ResumeRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._grpc.types import ExecuteRunArgs, ResumeRunArgs
from dagster._serdes import ConfigurableClass
from dagster._serdes.config_class import ConfigurableClassData

import batch_step
from batch_step import dagster_internals as internals
from batch_step.run_launcher import ProcessRunLauncher
from tests.batch_step.runs import reconstructable

PACKAGE = Path(batch_step.__file__).parent


def test_private_imports_stand_in_two_files() -> None:
    """Those of steps, and those of the run launcher, whose own tests run it under Dagster's daemon."""
    found = set()
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if any(n.startswith(("dagster.", "dagster_shared", "dagster._")) for n in names):
                found.add(file.name)
    assert found == {"dagster_internals.py", "run_launcher.py"}


def test_all_of_them_are_used() -> None:
    text = "".join(f.read_text() for f in PACKAGE.glob("*.py") if f.name != "dagster_internals.py")
    assert [name for name in internals.__all__ if name not in text] == []


PLAN = "job run_config step_keys_to_execute known_state repository_load_data"
MANAGER = "job execution_plan run_config dagster_run instance retry_mode"
TAGS = "data_version code_version input_provenance_data data_version_is_user_provided"
PARAMETERS = [
    (internals.create_execution_plan, PLAN),
    (internals.PlanExecutionContextManager, MANAGER),
    (internals.dagster_event_sequence_for_step, "step_context force_local_execution"),
    (internals.external_instance_from_step_run_ref, "step_run_ref event_listener_fn"),
    (internals.step_context_to_step_run_ref, "step_context"),
    (internals.build_data_version_tags, TAGS),
    (internals.compute_logical_data_version, "code_version input_data_versions"),
    (internals.get_code_version, "asset_key step_context"),
    (internals.get_input_provenance_data, "asset_key step_context"),
    (internals.partition_loading_context, "dynamic_partitions_store"),
]


@pytest.mark.parametrize(("function", "names"), PARAMETERS, ids=[f[0].__name__ for f in PARAMETERS])
def test_they_take_what_they_are_given(function: object, names: str) -> None:
    assert set(names.split()) <= set(inspect.signature(function).parameters)  # type: ignore[arg-type]


REFERENCE = {"run_config", "dagster_run", "run_id", "retry_mode", "step_key", "recon_job", "known_state"}
FIELDS = [
    (internals.StepRunRef, REFERENCE),
    (internals.StepFailureData, {"error", "user_failure_data", "error_source"}),
    (internals.StepMaterializationData, {"materialization", "asset_lineage"}),
    (dg.EventLogEntry, {"dagster_event", "user_message", "timestamp", "step_key"}),
    (dg.DagsterEvent, {"event_specific_data"}),
    (dg.AssetMaterialization, {"asset_key", "partition", "tags"}),
]


@pytest.mark.parametrize(("kind", "fields"), FIELDS, ids=[f[0].__name__ for f in FIELDS])
def test_they_have_the_fields_that_are_read_and_replaced(kind: type, fields: set[str]) -> None:
    assert fields <= set(kind._fields)  # type: ignore[attr-defined]
    if kind is internals.StepRunRef:
        assert fields == set(kind._fields)  # type: ignore[attr-defined]  # a new one would have to travel too


CONTEXT = [
    "entity_partitions_def", "has_partitions", "partition_key_range", "has_partition_key", "has_partition_key_range",
    "has_asset_partitions_for_input", "asset_partitions_subset_for_input", "fetch_external_input_asset_version_info",
    "wipe_input_asset_version_info", "is_sda_step", "previous_attempt_count", "op_retry_policy", "step_exception",
    "execution_plan", "job_def", "dagster_run",
]  # fmt: skip


@pytest.mark.parametrize("name", CONTEXT)
def test_a_step_context_has_what_is_asked_of_it(name: str) -> None:
    assert hasattr(dg.StepExecutionContext, name)


def test_a_plan_knows_which_steps_a_step_needs() -> None:
    plan = internals.create_execution_plan(reconstructable("local"))
    steps = plan.step_dict_by_key
    assert isinstance(steps["boxes"], internals.ExecutionStep)
    assert steps["boxes"].get_execution_dependency_keys() == {"frames"}


def test_tags_of_lineage_are_called_what_the_rehomer_looks_for() -> None:
    tags = internals.build_data_version_tags(
        dg.DataVersion("v"), "c", {dg.AssetKey("up"): {"data_version": dg.DataVersion("u"), "storage_id": 7}}, True
    )
    assert tags == {
        "dagster/code_version": "c",
        "dagster/input_data_version/up": "u",
        "dagster/input_event_pointer/up": "7",
        "dagster/data_version": "v",
        "dagster/data_version_is_user_provided": "true",
    }


def test_an_ephemeral_instance_tells_of_every_event() -> None:
    """Streaming rests on it."""
    from tests.batch_step.test_reference import reference

    heard: list[dg.EventLogEntry] = []
    with internals.external_instance_from_step_run_ref(reference().step, heard.append) as instance:
        event = dg.DagsterEvent("ENGINE_EVENT", "job", event_specific_data=internals.EngineEventData())
        instance.report_dagster_event(event, run_id="r-1")
    assert [e.run_id for e in heard] == ["r-1"]


# Of the run launcher.


def _private_names(file: str) -> set[str]:
    tree = ast.parse((PACKAGE / file).read_text())
    modules = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "._" in (node.module or "")]
    return {alias.name for node in modules for alias in node.names}


def test_the_run_launcher_takes_these_and_no_others() -> None:
    """Each is held to something below; a new one has to be, too."""
    assert _private_names("run_launcher.py") == {
        "CheckRunHealthResult",
        "ConfigurableClass",
        "ConfigurableClassData",
        "ExecuteRunArgs",
        "LaunchRunContext",
        "ResumeRunArgs",
        "ResumeRunContext",
        "RunLauncher",
        "WorkerStatus",
    }


OVERRIDDEN = [
    (RunLauncher, "launch_run"),
    (RunLauncher, "resume_run"),
    (RunLauncher, "terminate"),
    (RunLauncher, "check_run_worker_health"),
    (RunLauncher, "get_run_worker_debug_info"),
    (ConfigurableClass, "config_type"),
    (ConfigurableClass, "from_config_value"),
]


@pytest.mark.parametrize(("base", "name"), OVERRIDDEN, ids=[name for _, name in OVERRIDDEN])
def test_the_run_launcher_answers_what_dagster_calls(base: type, name: str) -> None:
    """By the same names of parameters: Dagster may pass them by name."""
    theirs, ours = (inspect.signature(getattr(kind, name)).parameters for kind in (base, ProcessRunLauncher))
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("name", ["supports_resume_run", "supports_check_run_worker_health"])
def test_a_run_launcher_says_what_it_can(name: str) -> None:
    assert isinstance(inspect.getattr_static(RunLauncher, name), property)
    assert isinstance(inspect.getattr_static(ProcessRunLauncher, name), property)
    assert isinstance(inspect.getattr_static(ConfigurableClass, "inst_data"), property)


@pytest.mark.parametrize("kind", [LaunchRunContext, ResumeRunContext])
def test_the_context_of_a_run_has_what_is_read(kind: type) -> None:
    assert "dagster_run" in kind._fields  # type: ignore[attr-defined]
    assert isinstance(inspect.getattr_static(kind, "job_code_origin"), property)


def test_a_run_workers_health_is_told_in_these_words() -> None:
    assert {"RUNNING", "FAILED"} <= set(WorkerStatus.__members__)
    told = CheckRunHealthResult(WorkerStatus.FAILED, "why")
    assert (told.status, told.msg) == (WorkerStatus.FAILED, "why")


@pytest.mark.parametrize(("kind", "command"), [(ExecuteRunArgs, "execute_run"), (ResumeRunArgs, "resume_run")])
def test_a_run_worker_is_started_by_this_command(kind: Any, command: str) -> None:
    """`python -m` goes before it."""
    origin = reconstructable("remote").get_python_origin()
    words = kind(job_origin=origin, run_id="r-1", instance_ref=None).get_command_args()
    assert words[:3] == ["dagster", "api", command]
    assert "r-1" in words[3]


INSTANCE = [
    "get_ref", "report_run_canceling", "report_run_canceled", "add_run_tags", "get_run_by_id",
    "run_launcher", "run_monitoring_enabled", "run_monitoring_max_resume_run_attempts",
]  # fmt: skip


@pytest.mark.parametrize("name", INSTANCE)
def test_an_instance_has_what_is_asked_of_it(name: str) -> None:
    assert hasattr(dg.DagsterInstance, name)


def test_a_run_launcher_can_be_named_in_dagster_yaml() -> None:
    data = ConfigurableClassData("batch_step.run_launcher", "ProcessRunLauncher", "log_dir: /somewhere\n")
    made = data.rehydrate(as_type=RunLauncher)
    assert isinstance(made, ProcessRunLauncher)
    assert made.inst_data == data
