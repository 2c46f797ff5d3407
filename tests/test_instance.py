"""How Dagster is set up: the daemon's way and the commands' way, over the same records."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest
import yaml

from batch_step.run_launcher import ProcessRunLauncher
from resources.settings import Settings
from sentinel_assets import instance as dagster_instance
from sentinel_assets.definitions import defs
from sentinel_assets.gpu_steps import job_environment
from sentinel_assets.workplace import open_workplace


def test_the_daemons_set_up_is_what_dagster_understands(tmp_path: Path) -> None:
    """Uploads before backfills, one run of a video at a time, a lost run resumed, what steps print kept."""
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(dagster_instance.for_daemon(None, tmp_path / "logs")))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_launcher, ProcessRunLauncher)
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_resume_run_attempts == 3
        assert instance.run_retries_enabled
        assert not instance.run_retries_retry_on_asset_or_op_failure
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        limits = {limit["key"]: limit["limit"] for limit in queue.tag_concurrency_limits}
        assert limits == {"dagster/partition": 1, "dagster/backfill": 4}
        assert limits["dagster/backfill"] < queue.max_concurrent_runs
        assert type(instance.compute_log_manager).__name__ == "LocalComputeLogManager"


def test_commands_share_the_records_and_launch_nothing(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command beside a running system leaves its set-up as it is."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = Settings(home=tmp_path, weights=tmp_path, database_url=database_url)
    with open_workplace(settings) as place:
        place.instance.add_dynamic_partitions("videos", ["1"])
        assert type(place.instance.compute_log_manager).__name__ == "NoOpComputeLogManager"
        with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as daemons:
            assert daemons.get_dynamic_partitions("videos") == ["1"]
            assert isinstance(daemons.run_launcher, ProcessRunLauncher)


def test_gpu_steps_share_a_pool() -> None:
    """So that a burst of uploads submits no more jobs than there are hosts."""
    pooled = {
        key.to_user_string()
        for asset in defs.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for key in asset.keys
        if asset.op.pool == dagster_instance.GPU_POOL
    }
    assert pooled >= {"detections", "poses"}
    assert not pooled & {"behaviors", "events"}


def test_a_job_samples_as_this_process_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or its outputs would bear a recipe that did not make them."""
    monkeypatch.setenv("SENTINEL_SAMPLING", "adaptive")
    monkeypatch.setenv("SENTINEL_SAMPLE_RATE", "2")
    assert job_environment(Settings.from_env()).items() >= {
        ("SENTINEL_SAMPLING", "adaptive"),
        ("SENTINEL_SAMPLE_RATE", "2.0"),
    }
