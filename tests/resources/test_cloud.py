"""What the environment says of the deployment's cloud."""

from __future__ import annotations

import pytest

from resources.cloud import Cloud
from resources.settings import Settings
from sentinel_assets.vision.errors import SentinelError


def test_an_empty_environment_names_no_cloud() -> None:
    assert Cloud.from_env({"SENTINEL_BATCH_QUEUE": ""}) == Cloud()


def test_batch_without_its_job_definition_is_refused() -> None:
    with pytest.raises(SentinelError, match="SENTINEL_JOB_DEFINITION"):
        Cloud.from_env({"SENTINEL_BATCH_QUEUE": "gpu", "SENTINEL_STEP_CHANNEL": "s3://steps/channel"})


def test_what_is_needed_and_not_set_is_named() -> None:
    with pytest.raises(SentinelError, match="SENTINEL_UPLOAD_QUEUE"):
        Cloud().require("upload_queue")


def test_artifacts_lie_where_the_environment_says() -> None:
    assert Settings.from_env({"SENTINEL_ARTIFACTS": "s3://bucket/artifacts"}).artifacts == "s3://bucket/artifacts"
