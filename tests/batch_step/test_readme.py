"""The README's example is a code location: it loads, and its asset runs as a job."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import dagster as dg
import pytest

import batch_step
from batch_step import BatchStepLauncher
from batch_step.failures import FailureClass
from tests.batch_step.conftest import CHECKOUT, create_queue

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

README = Path(batch_step.__file__).with_name("README.md").read_text()


def test_the_example_runs_as_a_job_of_a_real_worker(
    aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No warm start here: `python -m batch_step.worker` as in the image."""
    from dagster._core.definitions.reconstruct import ReconstructableRepository

    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "definitions.py").write_text(re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SHOP_STEPS", str(tmp_path / "steps"))
    create_queue("gpu-spot")
    create_queue("gpu-on-demand")
    environment = {"SHOP_STEPS": str(tmp_path / "steps"), "PYTHONPATH": f"{tmp_path}:{CHECKOUT}"}
    boto3.client("batch").register_job_definition(
        jobDefinitionName="shop",
        type="container",
        containerProperties={
            "image": "shop",
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}],
            "environment": [{"name": k, "value": v} for k, v in environment.items()],
        },
    )
    location = ReconstructableRepository.for_module("shop.definitions", "defs", working_directory=str(tmp_path))
    job = location.get_reconstructable_job("__ASSET_JOB")
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance:
        result = dg.execute_job(job, instance)
        assert result.success
        assert instance.get_latest_materialization_event(dg.AssetKey("detections")) is not None
        lines = [entry.user_message for entry in instance.all_logs(result.run_id) if entry.dagster_event is None]
        assert lines == ["on a GPU", "half of it is done"]
    (submitted,) = boto3.client("batch").list_jobs(
        jobQueue="gpu-spot", filters=[{"name": "JOB_NAME", "values": ["dagster-detections*"]}]
    )["jobSummaryList"]
    (job_detail,) = boto3.client("batch").describe_jobs(jobs=[submitted["jobId"]])["jobs"]
    assert {"type": "GPU", "value": "1"} in job_detail["container"]["resourceRequirements"]


def test_names_in_the_readme_exist() -> None:
    fields = set(BatchStepLauncher.model_fields)
    for name in ("lease_seconds", "infrastructure_retries", "on_demand_queue", "reuse", "share", "backfill_share"):
        assert name in README
        assert name in fields
    assert FailureClass.IMAGE_DENIED.retried_by.value == "nobody"


def test_the_public_surface_is_six_names() -> None:
    assert batch_step.__all__ == ["BatchStepLauncher", "in_job", "note_in", "orphan_reaper", "send_note", "told"]
    for name in batch_step.__all__:
        assert getattr(batch_step, name) is not None
    with pytest.raises(AttributeError):
        batch_step.nothing  # noqa: B018


def test_the_worker_starts_without_what_only_the_host_needs() -> None:
    """Each import is paid for on a GPU host."""
    script = "import sys, batch_step.worker; print([m for m in ('dagster', 'boto3', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert done.stdout.strip() == "[]"


def test_a_launcher_is_made_without_asking_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made in every process that loads the definitions, the job included."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    BatchStepLauncher(channel="/x", queue="q", job_definition="d")


@pytest.mark.parametrize(("tag", "value"), [("gpu", "1"), ("vcpus", "many"), ("gpus", "1.5")])
def test_an_op_tag_that_means_nothing_is_refused(tag: str, value: str) -> None:
    from batch_step.launcher import _whole, own_tags

    with pytest.raises(ValueError, match=f"op tag batch_step/{tag}"):
        _whole(own_tags({f"batch_step/{tag}": value}), tag, None)
