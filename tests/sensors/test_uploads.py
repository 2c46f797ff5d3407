"""The sensor over a real bucket, queue and database: one tick at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import dagster as dg
import pytest

from resources.artifacts import ArtifactStore
from resources.footage import FootageStore
from resources.provided import Footage
from resources.upload_queue import UploadQueue
from resources.warehouse import Warehouse
from sensors.uploads import uploads_sensor
from sentinel_assets.definitions import defs
from sentinel_assets.partitions import videos
from sentinel_assets.vision.containers import open_video
from sentinel_assets.vision.errors import FootageDamaged, NotAVideo
from tests.builders.bucket import UploadBucket
from tests.builders.messages import TEST_EVENT, from_backend

SENSOR = uploads_sensor(defs.resolve_job_def("analysis"))


@dataclass
class Daemon:
    """What Dagster's daemon does with a tick's result, without its process."""

    instance: dg.DagsterInstance
    bucket: UploadBucket
    artifacts: str
    cursor: str | None = None

    def tick(self, *, recorded: bool = True) -> dg.SensorResult:
        """`recorded`: the tick was not killed before its result was."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            definitions=defs,
            sensor_name="uploads",
            resources={
                "upload_queue": UploadQueue(url=self.bucket.queue, visibility_s=1, wait_s=1),
                "footage": Footage(base=self.artifacts),
            },
        )
        result = SENSOR(context)
        assert isinstance(result, dg.SensorResult)
        if recorded:
            self.cursor = result.cursor
            for event in result.asset_events:
                self.instance.report_runless_asset_event(event)
            for request in result.dynamic_partitions_requests or []:
                self.instance.add_dynamic_partitions(str(videos.name), list(request.partition_keys))
            for run in result.run_requests or []:
                tags = {"dagster/run_key": str(run.run_key), "dagster/sensor_name": "uploads", **run.tags}
                self.instance.create_run_for_job(
                    defs.resolve_job_def("analysis"), tags={**tags, "dagster/partition": str(run.partition_key)}
                )
        return result

    def runs(self) -> list[str]:
        return sorted(run.tags["dagster/run_key"] for run in self.instance.get_runs())


@pytest.fixture
def daemon(bucket: UploadBucket, tmp_path: Path) -> Iterator[Daemon]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(instance, bucket, str(tmp_path / "artifacts"))


def test_an_upload_becomes_a_partition_a_row_and_one_run(
    daemon: Daemon, bucket: UploadBucket, warehouse: Warehouse, people: Path
) -> None:
    """Lineage begins at S3: the object's ETag is the data version, its header is read without the rest."""
    etag = bucket.put("videos/123/people.mp4", people)
    modified = _modified(bucket, "videos/123/people.mp4")
    result = daemon.tick()
    (request,) = result.run_requests or []
    assert (request.run_key, request.partition_key) == (f"123:{etag}", "123")
    assert {k: v for k, v in request.tags.items() if k.startswith(("sentinel", "dagster/pri"))} == {
        "dagster/priority": "10",
        "sentinel/origin": "upload",
        "sentinel/etag": etag,
        "sentinel/modified": str(modified),
    }
    (event,) = result.asset_events
    assert isinstance(event, dg.AssetMaterialization)
    assert event.tags["dagster/data_version"] == etag
    facts = {name: value.value for name, value in event.metadata.items()}
    assert facts["dagster/uri"] == "s3://footage/videos/123/people.mp4"
    assert facts["size_bytes"] == people.stat().st_size
    assert facts["codec"] == "h264"
    assert facts["duration_s"] == pytest.approx(4.0, abs=0.3)
    row = warehouse.video("123")
    assert (row.id, row.name, row.etag, row.status) == (123, "people.mp4", etag, "pending")
    assert (row.width, row.height, row.codec) == (facts["width"], facts["height"], "h264")
    assert row.duration_s == facts["duration_s"]
    with FootageStore(ArtifactStore(daemon.artifacts)).local_copy("123") as path:
        assert path.read_bytes() == people.read_bytes()
    assert bucket.waiting() == 2  # and S3's own test event
    daemon.tick()
    assert bucket.waiting() == 0
    assert daemon.runs() == [f"123:{etag}"]


def test_a_tick_that_was_not_recorded_loses_nothing(daemon: Daemon, bucket: UploadBucket) -> None:
    """Killed before its result was: the message comes again."""
    etag = bucket.put("videos/1/a.mp4", b"frames")
    daemon.tick(recorded=False)
    assert daemon.runs() == []
    while not daemon.runs():  # it is visible again after a second
        daemon.tick()
    daemon.tick()
    assert (daemon.runs(), bucket.waiting()) == ([f"1:{etag}"], 0)


def test_messages_stay_until_their_runs_are_on_record(daemon: Daemon, bucket: UploadBucket) -> None:
    """A cursor was recorded, its runs were not: should Dagster ever do that, the videos come again."""
    bucket.put("videos/1/a.mp4", b"frames")
    daemon.cursor = daemon.tick(recorded=False).cursor
    daemon.tick(recorded=False)
    assert bucket.waiting() == 1


def test_an_overwritten_video_is_analysed_again_and_its_older_run_cannot_complete_it(
    daemon: Daemon, bucket: UploadBucket, warehouse: Warehouse, people: Path
) -> None:
    """The older run neither reads the newer content, nor begins again, nor publishes."""
    first = bucket.put("videos/7/a.mp4", people)
    daemon.tick()
    warehouse.begin_analysis("7", "older", first)
    second = bucket.put("videos/7/a.mp4", b"other frames")
    store = FootageStore(ArtifactStore(daemon.artifacts))
    with pytest.raises(FootageDamaged, match="when it was registered"), store.local_copy("7"):
        pass
    daemon.tick()
    assert daemon.runs() == sorted([f"7:{first}", f"7:{second}"])
    row = warehouse.video("7")
    assert (row.etag, row.status, row.analysis) == (second, "pending", None)
    versions = [record.asset_materialization for record in _materializations(daemon.instance)]
    assert [m.tags["dagster/data_version"] for m in versions if m and m.tags] == [second, first]


def test_what_failed_and_is_uploaded_once_more_is_analysed_once_more(
    daemon: Daemon, bucket: UploadBucket, warehouse: Warehouse
) -> None:
    """However often its messages come; while it runs, another upload of it asks for nothing."""
    etag = bucket.put("videos/7/a.mp4", b"frames")
    daemon.tick()
    (first,) = daemon.instance.get_runs()
    daemon.instance.report_run_failed(first, "the disk was full")
    warehouse.record_failure("7", "the disk was full")
    bucket.send(from_backend(7, "videos/7/a.mp4"))
    daemon.tick()
    assert (len(daemon.runs()), warehouse.video("7").status) == (1, "failed")
    second = _put_later(bucket, "videos/7/a.mp4", b"frames", first.tags["sentinel/modified"])
    bucket.send(from_backend(7, "videos/7/a.mp4"))
    daemon.tick()
    assert daemon.runs() == [f"7:{etag}", f"7:{etag}:{second}"]
    assert warehouse.video("7").status == "pending"
    _put_later(bucket, "videos/7/a.mp4", b"frames", str(second))
    daemon.tick()
    daemon.tick()
    assert (len(daemon.runs()), bucket.waiting()) == (2, 0)


def test_a_missing_object_fails_its_video_and_a_late_message_fails_none(
    daemon: Daemon, bucket: UploadBucket, warehouse: Warehouse
) -> None:
    bucket.send(from_backend(5, "videos/5/gone.mp4"), from_backend(6, "x.mp4", bucket="no-such-bucket"))
    daemon.tick()
    for key, why in (("5", "no such object"), ("6", "no such object")):
        row = warehouse.video(key)
        assert (row.status, row.error and why in row.error) == ("failed", True)
    warehouse.register_video("s3://footage/videos/5/gone.mp4", name="gone.mp4", video_id=5, etag="e")
    bucket.send(from_backend(5, "videos/5/gone.mp4"))
    daemon.tick()
    assert warehouse.video("5").status == "pending"
    daemon.tick()
    assert (bucket.waiting(), daemon.runs()) == (0, [])


def test_a_bad_message_is_told_once_and_ends_in_the_dead_letter_queue(daemon: Daemon, bucket: UploadBucket) -> None:
    etag = bucket.put("videos/1/a.mp4", b"frames")
    bucket.send("not JSON", TEST_EVENT, from_backend(1, "videos/1/b.mp4"))
    while bucket.waiting():
        daemon.tick()
    assert bucket.waiting(bucket.dead_letters) == 1
    told = daemon.instance.fetch_observations(dg.AssetKey("video"), limit=10).records
    reports = [record.asset_observation for record in told]
    assert [str(r.metadata["reason"].value)[:8] for r in reports if r] == ["not JSON"]
    assert daemon.runs() == [f"1:{etag}"]


def test_two_addresses_of_one_video_are_refused_and_told(daemon: Daemon, bucket: UploadBucket) -> None:
    """Only a backend, with its number, may give a video a new address."""
    bucket.put("videos/aisle/a.mp4", b"frames")
    daemon.tick()
    bucket.put("videos/aisle/b.mp4", b"others")
    result = daemon.tick()
    assert not result.run_requests
    (report,) = result.asset_events
    assert "registered differently" in str(report.metadata["reason"].value)


def test_a_file_that_is_no_video_still_gets_its_run(daemon: Daemon, bucket: UploadBucket) -> None:
    """Which says what is the matter with it, and where it was uploaded to; here its header is just unknown."""
    bucket.put("videos/1/a.mp4", b"#EXTM3U\n#EXTINF:1\nfile:///etc/hostname\n")
    (event,) = daemon.tick().asset_events
    assert "codec" not in event.metadata
    assert len(daemon.runs()) == 1
    with (
        pytest.raises(NotAVideo, match=r"^s3://footage/videos/1/a\.mp4: "),
        FootageStore(ArtifactStore(daemon.artifacts)).local_copy("1") as path,
        open_video(path),
    ):
        pass


def _put_later(bucket: UploadBucket, key: str, content: bytes, than: str) -> int:
    """Upload it until S3's clock, which counts seconds, says another time. Returns that, s since the epoch."""
    while True:
        bucket.put(key, content)
        if (at := _modified(bucket, key)) > int(than):
            return at
        time.sleep(0.1)


def _modified(bucket: UploadBucket, key: str) -> int:
    return round(boto3.client("s3").head_object(Bucket=bucket.bucket, Key=key)["LastModified"].timestamp())


def _materializations(instance: dg.DagsterInstance) -> list[dg.EventLogRecord]:
    return list(instance.fetch_materializations(dg.AssetKey("video"), limit=10).records)
