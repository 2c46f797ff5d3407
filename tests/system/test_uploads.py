"""What the sensor's daemon may suffer: its own death at any point of a tick, messages that come again and again.

Dagster's daemon and code server, S3, SQS and PostgreSQL are real, and so is all that is ours but the models: the
analysis publishes one event, which holds the content that it read.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import dagster as dg
import pytest
import yaml

from resources.warehouse import Warehouse
from sentinel_assets.backfills import BACKFILL, begin
from sentinel_assets.instance import for_daemon, postgres_storage
from sentinel_assets.planning import Plan
from tests.builders.bucket import UploadBucket
from tests.builders.contents import HELD, NO_VIDEO, hold, let_go
from tests.builders.messages import MALFORMED
from tests.builders.services import SETTLED, Services, services
from tests.builders.systems import eventually

if TYPE_CHECKING:
    from infra.local.aws import LocalAws
    from infra.local.postgres import Server

pytestmark = pytest.mark.drill

_RECEIVES = 3  # before the dead-letter queue


@dataclass(frozen=True)
class House:
    """The services, and what they work with."""

    home: Path
    services: Services
    bucket: UploadBucket
    warehouse: Warehouse
    instance: dg.DagsterInstance
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def put(self, *contents: bytes) -> dict[str, bytes]:
        """Uploads, each of a new video; the contents by partition."""
        put = {str(next(self.numbers)): content for content in contents}
        for partition, content in put.items():
            self.bucket.put(key_of(partition), content)
        return put

    def runs(self, *partitions: str) -> list[dg.DagsterRun]:
        """The newest first."""
        return list(self.instance.get_runs(dg.RunsFilter(tags={"dagster/partition": list(partitions)})))

    def settles(self, messages: int = 0) -> None:
        """Wait until no run is under way and no more than so many messages are left."""

        def left() -> tuple[int, int]:
            return self.bucket.waiting() - messages, sum(not run.is_finished for run in self.instance.get_runs())

        eventually(lambda: left() == (0, 0), "nothing is under way", lambda: (left(), self.words()))

    def ends_its_daemon(self) -> None:
        """Killed between two ticks: the code server would go on with the one under way, and take the next messages."""
        began, ended = "Checking for new runs for sensor: uploads", "Sensor uploads skipped"
        log = self.services.log
        eventually(lambda: (said := log.read_text()).rfind(ended) > said.rfind(began), "a tick ends")
        self.services.kill("daemon")

    def words(self) -> str:
        return self.services.log.read_text()[-6000:]

    def are_analysed_exactly_once(self, put: dict[str, bytes]) -> None:
        """One run each, which succeeded; one materialization; one event, of the content that is there."""
        runs = self.runs(*put)
        assert Counter(run.tags["dagster/partition"] for run in runs) == dict.fromkeys(put, 1)
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        made = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("events"), asset_partitions=list(put)), limit=10 * len(put)
        ).records
        assert Counter(record.partition_key for record in made) == dict.fromkeys(put, 1)
        rows = {row.partition_key: row for row in self.warehouse.videos() if row.partition_key in put}
        assert {row.status for row in rows.values()} == {"completed"}
        found = {key: [event.description for event in self.warehouse.events(row.id)] for key, row in rows.items()}
        assert found == {key: [content.decode()] for key, content in put.items()}


def key_of(partition: str) -> str:
    return f"videos/{partition}/a.mp4"


@pytest.fixture(scope="module")
def house(
    aws_server: LocalAws,
    aws_session: Any,
    postgres: Server,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    """Without a daemon: each drill starts its own."""
    home = tmp_path_factory.mktemp("home")
    postgres.create_database("house", template=migrated_template)
    postgres.create_database("house_dagster")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        records = postgres.url("house_dagster").replace("postgresql://", "postgresql+psycopg2://", 1)
        variables = {
            **aws_server.environment(),
            "SENTINEL_HOME": str(home),
            "DAGSTER_HOME": str(home),
            "DATABASE_URL": postgres.url("house"),
            "SENTINEL_DAGSTER_URL": records,
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", aws_session)
        bucket = UploadBucket.new(receives=_RECEIVES)
        patch.setenv("SENTINEL_UPLOAD_QUEUE", bucket.queue)
        bucket.bodies(bucket.queue)  # S3's own test event
        boto3.client("sqs").purge_queue(QueueUrl=bucket.queue)
        write_dagster_home(home)
        with (
            Warehouse(postgres.url("house")) as warehouse,
            dg.DagsterInstance.from_config(str(home)) as instance,
            services(home) as running,
        ):
            yield House(home, running, bucket, warehouse, instance)
        aws_server.reset()
    for name in ("house", "house_dagster"):
        postgres.drop_database(name)


def write_dagster_home(home: Path, at_once: int | None = 50) -> None:
    """As the whole system has it, but that runs are handed over, and `at_once` of them (None: as many as there)."""
    config = for_daemon(postgres_storage({"postgres_url": {"env": "SENTINEL_DAGSTER_URL"}}), home / "logs")
    config["run_launcher"] = {"module": "tests.builders.light", "class": "HandedOver"}
    nothing = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    config["compute_logs"] = nothing  # for each step it would start two processes
    config["run_monitoring"] = {"enabled": False}  # it would ask for the runs' processes
    config["concurrency"]["runs"]["max_concurrent_runs"] = (
        at_once or config["concurrency"]["runs"]["max_concurrent_runs"]
    )
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    where = {"socket": str(home / "code.sock"), "location_name": "light"}
    (home / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [{"grpc_server": where}]}))


@pytest.fixture(autouse=True)
def no_daemon_is_left(house: House) -> Iterator[None]:
    write_dagster_home(house.home)
    yield
    house.ends_its_daemon()


@pytest.mark.parametrize(
    ("point", "on_record"),
    [
        ("AUTOMATION_EVALUATIONS_ADDED", 0),  # the tick is evaluated, neither its requests nor its cursor are stored
        ("RUN_IDS_RESERVED", 0),  # both are stored, no run is
        ("RUN_LAUNCHED", 1),  # the first of the runs is in the queue
        (SETTLED, 3),  # all are, and the messages are still to be deleted
    ],
)
def test_a_daemon_killed_in_a_tick_loses_nothing_and_repeats_nothing(house: House, point: str, on_record: int) -> None:
    """With signal 9; the next daemon does the rest, and so it does where the messages come again meanwhile."""
    put = house.put(*(f"{point} {number}".encode() for number in range(3)))
    house.services.start("daemon", point)
    ended = eventually(lambda: house.services.ended("daemon"), f"it is killed at {point}", house.words)
    assert ended == -signal.SIGKILL
    assert len(house.runs(*put)) == on_record
    assert house.bucket.deliver_again() == 3
    house.services.start("daemon")
    house.settles()
    house.are_analysed_exactly_once(put)
    assert house.bucket.waiting(house.bucket.dead_letters) == 0


def test_messages_that_come_three_times_ask_for_one_analysis(house: House) -> None:
    """Twice in one tick, again while the analysis runs, and again when it is over."""
    contents = [HELD + str(number).encode() for number in range(3)]
    put = house.put(*contents)
    bodies = house.bucket.bodies(house.bucket.queue)
    assert len(bodies) == 3
    house.bucket.send(*bodies)
    house.bucket.deliver_again()
    house.services.start("daemon")
    eventually(
        lambda: all(house.warehouse.video(key).status == "processing" for key in put) if house.runs(*put) else False,
        "the analyses run",
        house.words,
    )
    house.bucket.send(*bodies)
    eventually(lambda: house.bucket.waiting() == 0, "all messages are dealt with", house.words)
    for content in contents:
        let_go(house.home, content)
    house.settles()
    house.bucket.send(*bodies)
    house.settles()
    house.are_analysed_exactly_once(put)


def test_of_200_uploads_at_once_the_good_are_analysed_and_the_bad_accounted_for(house: House) -> None:
    """170 videos, 10 files that are none, and 20 messages that nobody can read, mixed."""
    malformed = list(itertools.islice(itertools.cycle(MALFORMED.values()), 20))
    good: dict[str, bytes] = {}
    bad: dict[str, bytes] = {}
    for number, body in enumerate(malformed):
        good |= house.put(*(f"one of many: {number}.{each}".encode() for each in range(9 - number % 2)))
        bad |= house.put(*([NO_VIDEO + str(number).encode()] * (number % 2)))
        house.bucket.send(body)
    assert (len(good), len(bad), house.bucket.waiting()) == (170, 10, 200)
    house.services.start("daemon")
    for _ in range(_RECEIVES):
        eventually(lambda: house.bucket.unseen() == 0, "all messages are taken", house.words)
        house.bucket.deliver_again()
    house.settles()
    house.are_analysed_exactly_once(good)
    assert Counter(run.tags["dagster/partition"] for run in house.runs(*bad)) == dict.fromkeys(bad, 1)
    for partition in bad:
        row = house.warehouse.video(partition)
        address = f"s3://{house.bucket.bucket}/{key_of(partition)}"
        assert (row.status, row.error) == (
            "failed",
            f"events: {address}: not a video file that can be read. Give a video",
        )
    assert Counter(house.bucket.bodies(house.bucket.dead_letters)) == Counter(malformed)
    told = house.instance.fetch_observations(dg.AssetKey("video"), limit=1000).records
    reports = [record.asset_observation.metadata for record in told if record.asset_observation]
    assert Counter(str(report["body"].value) for report in reports) == Counter(malformed)
    assert len({report["message_id"].value for report in reports}) == len(malformed)


def test_a_video_overwritten_while_its_analysis_runs_becomes_what_it_is_now(house: House) -> None:
    """The older run, which has read the older content, neither publishes it nor speaks for the row."""
    older, newer = HELD + b"older", b"newer"
    (partition,) = house.put(older)
    house.services.start("daemon")
    eventually(lambda: house.runs(partition) and house.warehouse.video(partition).status == "processing", "it runs")
    etag = house.bucket.put(key_of(partition), newer)
    eventually(lambda: house.warehouse.video(partition).etag == etag, "the newer upload is taken up", house.words)
    assert house.warehouse.video(partition).status == "pending"
    let_go(house.home, older)
    house.settles()
    now, before = house.runs(partition)
    assert (now.status, before.status) == (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
    row = house.warehouse.video(partition)
    assert (row.status, row.analysis, row.error) == ("completed", now.run_id, None)
    assert [event.description for event in house.warehouse.events(row.id)] == [newer.decode()]
    made = house.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("events"), asset_partitions=[partition]), limit=10
    ).records
    assert [record.run_id for record in made] == [now.run_id]


def test_uploads_that_arrive_during_a_backfill_start_before_its_remaining_runs(house: House) -> None:
    """As many runs at once as the product has. Those of the backfill that run leave places free; and once all are
    taken, the next to be free is an upload's."""
    old, new = ([HELD + f"{word} {number}".encode() for number in range(8)] for word in ("old", "new"))
    for content in old:
        let_go(house.home, content)
    videos = house.put(*old)
    house.services.start("daemon")
    house.settles()
    house.ends_its_daemon()
    for content in old:
        hold(house.home, content)
    begin(house.instance, Plan("events", "a" * 12, tuple((video, ("events",)) for video in reversed(videos))))
    write_dagster_home(house.home, at_once=None)
    house.services.start("daemon")

    def runs(partitions: Collection[str]) -> dict[bool, set[str]]:
        """Of the latest run of each of these videos: those that wait for a place, and those that had one."""
        latest = {run.tags["dagster/partition"]: run for run in reversed(house.runs(*partitions))}
        sides: dict[bool, set[str]] = {True: set(), False: set()}
        for partition, run in latest.items():
            sides[run.status == dg.DagsterRunStatus.QUEUED].add(partition)
        return sides

    def so_many(partitions: Collection[str], *, waiting: int) -> Callable[[], bool]:
        def counted() -> bool:
            return len(house.runs(*partitions)) % 8 == 0 and len(runs(partitions)[True]) == waiting

        return counted

    eventually(so_many(videos, waiting=4), "half of the backfill runs", house.words)
    uploads = house.put(*new)
    eventually(so_many(uploads, waiting=4), "four uploads find a place, and then there is none", house.words)
    first, left = runs(videos)[False], runs(videos)[True]
    for video in first:
        let_go(house.home, videos[video])
    eventually(so_many(uploads, waiting=0), "the free places are the uploads'", lambda: (runs(uploads), house.words()))
    assert runs(videos)[True] == left
    for content in (*new, *old):
        let_go(house.home, content)
    house.settles()
    house.are_analysed_exactly_once(uploads)
    redone = Counter(run.tags["dagster/partition"] for run in house.runs(*videos) if BACKFILL in run.tags)
    assert redone == dict.fromkeys(videos, 1)
