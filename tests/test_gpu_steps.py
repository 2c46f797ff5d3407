"""The stages that ask for a GPU, as jobs on Batch: equal results, a live row, and no database on the job."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pandas as pd
import psycopg
import pytest
from psycopg import sql

from batch_step.cost import DEFAULT_PRICES
from resources.cloud import Cloud
from resources.settings import Settings
from sentinel_assets import models
from sentinel_assets.definitions import ASSETS, definitions, definitions_without_batch
from sentinel_assets.filming import sampling_digest
from sentinel_assets.freshness import latest_output
from sentinel_assets.prices import read_histories
from sentinel_assets.recipes import Version, inputs_digest
from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.frames import probe
from sentinel_assets.vision.tables import TABLES, Sampling
from tests.builders.deployment import BUCKET, Deployment
from tests.builders.faults import cut

if TYPE_CHECKING:
    from infra.local.aws import LocalAws
    from infra.local.postgres import Server

STAGES_ON_GPU = ["detections", "demographics", "poses"]
HOST_AND_TIME = {"seconds", "seconds_to_first_frame", "dagster/uri"}
"""Of the metadata: what may differ between two runs of the same."""
ON_QUEUE = Cloud(batch_queue="gpu", on_demand_queue="dear", job_definition="sentinel", step_channel="s3://steps/x")


@pytest.fixture
def bucket(aws: LocalAws) -> None:
    where = {"LocationConstraint": aws.settings.region}
    boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)


Deploy = Callable[..., AbstractContextManager[Deployment]]


@pytest.fixture
def deploy(bucket: None, postgres: Server, fresh_database: Any, tmp_path: Path) -> Iterator[Deploy]:
    """Makes deployments, each with databases of its own."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def deployment(name: str, profile: str = "permissive", artifacts: str | None = None) -> Any:
            url = stack.enter_context(fresh_database())
            return Deployment.made(tmp_path / name, postgres, url, profile, artifacts)

        yield deployment


# The main job on both sides.


@pytest.fixture(scope="module")
def in_process(
    postgres: Server, fresh_database: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, Path], Deployment]]:
    """Of each profile a deployment whose main job ran in process: one for all that are compared with it."""
    from contextlib import ExitStack

    made: dict[str, Deployment] = {}
    with ExitStack() as stack:

        def deployment(profile: str, clip: Path) -> Deployment:
            if profile not in made:
                url = stack.enter_context(fresh_database())
                home = tmp_path_factory.mktemp("in-process") / profile
                here = stack.enter_context(Deployment.made(home, postgres, url, profile))
                done = here.materialize(here.upload(clip, probe(clip)), _selected(COMPARED[profile]))
                assert done.returncode == 0, done.stderr
                made[profile] = here
            return made[profile]

        yield deployment


COMPARED = {"permissive": [*TABLES], "cpu": STAGES_ON_GPU}
"""By profile: the assets that are made in process."""


def _selected(assets: Sequence[str]) -> str:
    return "*" if set(assets) == set(TABLES) else " or ".join(f"key:{asset}" for asset in assets)


@pytest.mark.drill
@pytest.mark.parametrize(
    ("profile", "varied", "store"),
    [
        pytest.param("permissive", None, "s3", id="product"),  # in process, one job for the run
        pytest.param("permissive", ("multiprocess", "step"), "s3", id="multiprocess, step"),
        pytest.param("cpu", ("multiprocess", "run"), "folder", id="multiprocess, run"),  # with torch, as on a GPU
        pytest.param("permissive", ("in_process", "step"), "folder", id="in process, step"),
    ],
)
def test_the_main_job_leaves_the_same_on_batch_and_in_process(
    deploy: Deploy,
    in_process: Callable[[str, Path], Deployment],
    people: Path,
    profile: str,
    varied: tuple[str, str] | None,
    store: str,
) -> None:
    """Tables, versions, recipes, lineage, checks and rows; both executors, both ways to use a job, both stores."""
    artifacts = f"s3://{BUCKET}/artifacts" if store == "s3" else None
    with deploy("there", profile, artifacts) as there:
        here = in_process(profile, people)
        there.send_gpu_steps_to_batch(f"s3://{BUCKET}/steps" if store == "s3" else str(there.home / "steps"))
        partition = there.upload(people, probe(people))
        made = [*TABLES] if varied is None else STAGES_ON_GPU
        done = there.materialize(partition, _selected(made), varied=varied)
        assert done.returncode == 0, done.stderr

        jobs = there.jobs()
        assert len(jobs) == (len(STAGES_ON_GPU) if varied and varied[1] == "step" else 1), what_became_of(jobs)
        assert records_of(there, partition, made) == records_of(here, partition, made)
        for asset in made:
            pd.testing.assert_frame_equal(there.table(asset, partition), here.table(asset, partition))
        if varied is None:
            assert rows_of(there, "events", "recipes", "videos") == rows_of(here, "events", "recipes", "videos")
            assert rows_of(there, "videos")["videos"][0]["analysis_progress"] == 100
        else:
            recipes = [row for row in rows_of(here, "recipes")["recipes"] if row["asset"] in made]
            assert rows_of(there, "events", "recipes") == {"events": [], "recipes": recipes}
            assert {row["asset"] for row in recipes} == {*made}
        assert not (there.job_home / "postgres").exists()
        assert all("DATABASE_URL" not in str(job["container"]["environment"]) for job in jobs)
        assert_priced_by_its_hosts(there, partition, made)


@pytest.mark.drill
def test_videos_of_a_backfill_share_a_job_and_leave_what_each_leaves_alone(
    deploy: Deploy, in_process: Callable[[str, Path], Deployment], people: Path, tmp_path: Path
) -> None:
    """Four, of which the third is none: its job ends with it, and the fourth has another."""
    short, later, broken = (tmp_path / f"{name}.mp4" for name in ("short", "later", "broken"))
    cut(people, short, seconds=2)
    cut(people, later, seconds=3)
    broken.write_bytes(b"no video at all")
    here = in_process("permissive", people)
    with deploy("there") as there:
        there.send_gpu_steps_to_batch(str(there.home / "steps"))
        there.expect_a_run("redone")
        partitions = {}
        for clip in (short, people, broken, later):
            partitions[clip] = there.upload(clip, None if clip == broken else probe(clip))
            done = there.materialize_in_backfill(partitions[clip], "redone")
            assert (done.returncode == 0) is (clip != broken), done.stderr
        assert len(there.jobs()) == 2, what_became_of(there.jobs())
        there_it, (here_it,) = partitions[people], partitions_of(here)
        for asset in TABLES:
            pd.testing.assert_frame_equal(there.table(asset, there_it), here.table(asset, here_it))
        assert records_of(there, there_it, [*TABLES]) == records_of(here, here_it, [*TABLES])
        status = {row["name"]: row["status"] for row in rows_of(there, "videos")["videos"]}
        assert status == {clip.name: "failed" if clip == broken else "completed" for clip in partitions}
        assert all("DATABASE_URL" not in str(job["container"]["environment"]) for job in there.jobs())


def partitions_of(deployment: Deployment) -> list[str]:
    with deployment.instance() as instance:
        return list(instance.get_dynamic_partitions("videos"))


def assert_priced_by_its_hosts(deployment: Deployment, partition: str, made: Sequence[str]) -> None:
    """What an upgrade's price goes by: of a stage in a job the time and money of that, of another only its own time."""
    with deployment.instance() as instance:
        histories = read_histories(instance, {asset: [] for asset in made}, {partition: 5.0})
        wanted = {asset: dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition]) for asset in made}
        for asset in made:
            (measure,) = histories[asset].measures
            (record,) = instance.fetch_materializations(wanted[asset], limit=1).records
            assert record.asset_materialization is not None
            stage_s = float(str(record.asset_materialization.metadata["seconds"].value))
            if asset in STAGES_ON_GPU:
                assert measure.seconds > stage_s
                assert measure.usd == pytest.approx(measure.seconds / 3600 * DEFAULT_PRICES["g5.xlarge/spot"], abs=1e-5)
            else:
                assert (measure.seconds, measure.usd) == (stage_s, 0.0)


def what_became_of(jobs: Sequence[dict[str, Any]]) -> str:
    return "; ".join(f"{job['jobName']}: {job['status']}, {job.get('statusReason')}" for job in jobs)


def records_of(deployment: Deployment, partition: str, made: Sequence[str]) -> dict[str, Any]:
    """What Dagster knows of each asset's partition, without ids and places."""
    found: dict[str, Any] = {}
    with deployment.instance() as instance:
        ids: dict[str, str] = {}  # of materializations
        for asset in ["video", *made]:
            wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
            (record,) = instance.fetch_materializations(wanted, limit=10).records
            ids[str(record.storage_id)] = asset
            event = record.asset_materialization
            assert event is not None
            metadata = {k: v.value for k, v in event.metadata.items() if k not in HOST_AND_TIME}
            found[asset] = {"tags": dict(event.tags or {}), "metadata": metadata}
        (run,) = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": partition}))
        for asset in found:
            tags = found[asset]["tags"]
            for key, value in tags.items():
                if key.startswith("dagster/input_event_pointer/"):
                    tags[key] = ids[value]
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
            assert entry.dagster_event is not None
            check = entry.dagster_event.asset_check_evaluation_data
            if check.asset_key.to_user_string() not in made:
                continue
            target = check.target_materialization_data
            assert target is not None
            found[f"{check.asset_key.to_user_string()}:{check.check_name}"] = {
                "passed": check.passed,
                "metadata": {k: v.value for k, v in check.metadata.items()},
                "of": ids[str(target.storage_id)],
            }
    return found


def rows_of(deployment: Deployment, *tables: str) -> dict[str, list[dict[str, Any]]]:
    varying = {"id", "created_at", "updated_at", "completed_at", "analysis", "first_used"}
    found = {}
    with psycopg.connect(deployment.database_url) as connection:
        order = {"events": "event_key", "recipes": "digest", "videos": "id"}
        for table in tables:
            query = sql.SQL("SELECT * FROM {} ORDER BY {}").format(sql.Identifier(table), sql.Identifier(order[table]))
            cursor = connection.execute(query)
            names = [column.name for column in cursor.description or []]
            rows = [dict(zip(names, row, strict=True)) for row in cursor]
            found[table] = [{k: v for k, v in row.items() if k not in varying} for row in rows]
    return found


# The row while a job runs, and after it failed.


@pytest.mark.drill
def test_the_row_says_how_far_a_job_is_and_why_one_failed(deploy: Deploy, people: Path, tmp_path: Path) -> None:
    """The job has no database: what the row says of it came as notes, while it ran."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    with deploy("there") as there:
        there.send_gpu_steps_to_batch(str(there.home / "steps"))
        with psycopg.connect(there.database_url, autocommit=True) as connection:
            connection.execute(RECORD_PROGRESS)
            assert there.materialize(there.upload(people, probe(people)), "detections").returncode == 0
            told = connection.execute("SELECT stage, progress FROM told ORDER BY n").fetchall()
            assert told[0] == (None, 0)  # begun by the host, before there was a job
            assert any(stage == "detections" and 1 <= progress < 50 for stage, progress in told)

            assert there.materialize(there.upload(broken), "detections").returncode != 0
            row = connection.execute("SELECT status, error FROM videos WHERE name = 'broken.mp4'").fetchone()
        assert row is not None
        status, error = row
        assert status == "failed"
        assert error.startswith("detections: ")
        assert "not a video" in error
        assert "defect of Sentinel" not in error
        assert not (there.job_home / "postgres").exists()


@pytest.mark.drill
def test_a_job_samples_a_video_as_its_camera_wants_it(deploy: Deploy, people: Path, tmp_path: Path) -> None:
    """The cameras' files are the host's alone."""
    cameras = tmp_path / "cameras"
    cameras.mkdir()
    own = {"rate_hz": 2.0}
    camera = {"videos": ["*/videos/7/*"], "frame": [1280, 720], "sampling": own}
    (cameras / "aisle.yaml").write_text(json.dumps(camera))
    with deploy("there") as there:
        there.send_gpu_steps_to_batch(str(there.home / "steps"))
        there.on_batch = {**there.on_batch, "SENTINEL_CAMERAS": str(cameras)}
        partition = there.upload(people, probe(people))
        done = there.materialize(partition, "detections")
        assert done.returncode == 0, done.stderr
        assert len(there.jobs()) == 1
        assert Sampling.of(there.table("detections", partition)).rate_hz == pytest.approx(2.0, rel=0.1)
        with there.instance() as instance:
            made = latest_output(instance, "detections", partition)
            video = latest_output(instance, "video", partition)
        assert made is not None
        assert video is not None
        inputs = {"video": video.version, "sampling": sampling_digest(own)}
        assert Version.parse(made.version).inputs == inputs_digest(inputs)


RECORD_PROGRESS = """
CREATE TABLE told (n serial, stage text, progress int);
CREATE FUNCTION tell() RETURNS trigger AS $$
BEGIN INSERT INTO told (stage, progress) VALUES (NEW.stage, NEW.analysis_progress); RETURN NEW; END $$ LANGUAGE plpgsql;
CREATE TRIGGER tell AFTER UPDATE ON videos FOR EACH ROW EXECUTE FUNCTION tell();
"""


# What goes where.


def _asks_for_gpu(asset: object) -> bool:
    return isinstance(asset, dg.AssetsDefinition) and "gpu" in asset.required_resource_keys


def test_the_stages_on_a_gpu_are_those_that_look_at_pixels() -> None:
    """A sentence by template and its vector are made before a job would have started."""
    asking = {a.key.to_user_string() for a in ASSETS if isinstance(a, dg.AssetsDefinition) and _asks_for_gpu(a)}
    assert asking == {*STAGES_ON_GPU} | ({"descriptions"} if models.needs_weights("describer") else set())


def test_with_a_queue_gpu_steps_are_jobs_and_without_one_they_run_here(tmp_path: Path) -> None:
    """One job for a run, ended by the reaper where its run is over; a command by whose side a person waits has none."""
    settings = Settings(home=tmp_path, weights=tmp_path, cloud=ON_QUEUE)
    deployed = definitions(settings).resolve_implicit_global_asset_job_def()
    launcher = deployed.resource_defs["gpu"]
    given = launcher.config_schema.default_value  # type: ignore[attr-defined]
    assert (given["reuse"], given["queue"], given["on_demand_queue"]) == ("run", "gpu", "dear")
    assert given["timeout_seconds"] == 4 * 3600
    assert "batch_orphan_reaper" in {s.name for s in definitions(settings).sensors or []}
    alone = definitions_without_batch(settings)
    for without in (alone, definitions(replace(settings, cloud=Cloud()))):
        assert "batch_orphan_reaper" not in {s.name for s in without.sensors or []}
    assert "Launcher" not in str(alone.resolve_implicit_global_asset_job_def().resource_defs["gpu"])


def test_how_long_a_step_may_run_is_the_deployments_to_say(tmp_path: Path) -> None:
    environment = {"SENTINEL_HOME": str(tmp_path), "SENTINEL_STEP_TIME_LIMIT": "36000"}
    settings = replace(Settings.from_env(environment), cloud=ON_QUEUE)
    launcher = definitions(settings).resolve_implicit_global_asset_job_def().resource_defs["gpu"]
    assert launcher.config_schema.default_value["timeout_seconds"] == 36_000  # type: ignore[attr-defined]
    for wrong in ("0", "-1", "nan", "inf", "4h"):
        with pytest.raises(SentinelError, match="SENTINEL_STEP_TIME_LIMIT"):
            Settings.from_env({"SENTINEL_STEP_TIME_LIMIT": wrong})


def test_how_many_videos_a_job_serves_is_the_deployments_to_say(tmp_path: Path) -> None:
    for given, expected in (("", 20), ("1", 1), ("50", 50)):
        environment = {"SENTINEL_HOME": str(tmp_path), "SENTINEL_VIDEOS_PER_JOB": given}
        settings = replace(Settings.from_env(environment), cloud=ON_QUEUE)
        launcher = definitions(settings).resolve_implicit_global_asset_job_def().resource_defs["gpu"]
        assert launcher.config_schema.default_value["runs_per_job"] == expected  # type: ignore[attr-defined]
    for wrong in ("0", "-1", "1.5", "inf", "nan", "many", "²"):
        with pytest.raises(SentinelError, match="SENTINEL_VIDEOS_PER_JOB"):
            Settings.from_env({"SENTINEL_VIDEOS_PER_JOB": wrong})


def test_what_a_host_costs_is_the_deployments_to_say(tmp_path: Path) -> None:
    """As it is written in Terraform; of others the launcher's own prices hold."""
    environment = {"SENTINEL_HOME": str(tmp_path), "SENTINEL_HOST_PRICES": "g5.xlarge/on-demand=1.3, local/spot=0"}
    settings = replace(Settings.from_env(environment), cloud=ON_QUEUE)
    launcher = definitions(settings).resolve_implicit_global_asset_job_def().resource_defs["gpu"]
    prices = launcher.config_schema.default_value["prices"]  # type: ignore[attr-defined]
    assert prices == {"g5.xlarge/on-demand": 1.3, "g5.xlarge/spot": 0.45, "local/spot": 0.0}
    for wrong in ("1.3", "g5.xlarge=1.3", "g5.xlarge/on-demand", "g5.xlarge/hired=1", "a/spot=-1", "a/spot=nan"):
        with pytest.raises(SentinelError, match="SENTINEL_HOST_PRICES"):
            Settings.from_env({"SENTINEL_HOST_PRICES": wrong})
