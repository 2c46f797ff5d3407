"""The local AWS as a server: who may use it, what it leaves behind, and that its services know of each other."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from sentinel_assets.vision.errors import SentinelError
from tests.builders.queues import CommandQueue

if TYPE_CHECKING:
    from infra.local.aws import LocalAws


def test_an_upload_sends_a_message(aws: LocalAws) -> None:
    """S3 to SQS, the way of every video; both through endpoints that nobody named."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    url = sqs.create_queue(QueueName="uploads")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.create_bucket(Bucket="footage", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"})
    notify = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket="footage", NotificationConfiguration=notify)
    s3.put_object(Bucket="footage", Key="videos/1/original.mp4", Body=b"video")
    bodies: list[dict[str, Any]] = []
    while len(bodies) < 2:
        answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, MaxNumberOfMessages=10)
        bodies += [json.loads(message["Body"]) for message in answer["Messages"]]
    assert {body.get("Event", "") for body in bodies} == {"s3:TestEvent", ""}
    (record,) = next(body["Records"] for body in bodies if "Records" in body)
    assert (record["s3"]["bucket"]["name"], record["s3"]["object"]["size"]) == ("footage", 5)
    link = s3.generate_presigned_url("get_object", Params={"Bucket": "footage", "Key": "videos/1/original.mp4"})
    with urllib.request.urlopen(link, timeout=10) as answer:  # noqa: S310 - http, loopback, as below
        assert answer.read() == b"video"


def test_each_test_finds_it_empty(aws: LocalAws) -> None:
    """After the test above, too; and reset takes jobs, queues and definitions along."""
    assert boto3.client("s3").list_buckets()["Buckets"] == []
    queue = CommandQueue()
    job_id = queue.submit("sleep", "600")
    queue.wait(job_id, "RUNNING")
    (pid,) = aws.batch.running().values()
    aws.reset()
    assert not _lives(pid)
    assert queue.batch.describe_jobs(jobs=[job_id])["jobs"] == []
    assert queue.batch.describe_job_queues()["jobQueues"] == []
    assert queue.batch.describe_job_definitions()["jobDefinitions"] == []
    assert CommandQueue().run("true")["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("s3", "list_buckets", "InvalidAccessKeyId"),
        ("sqs", "list_queues", "UnrecognizedClientException"),
        ("logs", "describe_log_groups", "UnrecognizedClientException"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("batch", "describe_job_queues", "UnrecognizedClientException"),
    ],
)
def test_only_who_knows_the_key_comes_in(aws: LocalAws, service: str, call: str, code: str) -> None:
    """Each service says so in its own way, so that the client understands."""
    stranger = boto3.client(service, aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="x")  # noqa: S106
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        getattr(stranger, call)()
    assert raised.value.response["Error"]["Code"] == code


def test_no_page_in_a_browser_comes_in(aws: LocalAws) -> None:
    """Neither under a name of its own that points to loopback, nor by asking across origins; nor unsigned."""
    key = {"X-Access-Key": aws.access_key}
    for headers in ({**key, "Host": "evil.example"}, {"Origin": "https://evil.example"}, {}):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(urllib.request.Request(f"{aws.url}/bucket", headers=headers), timeout=10)  # noqa: S310
    assert not _answers_other_origins(aws)


def test_other_origins_read_nothing_though_moto_would_let_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the environment when its settings are imported, which may be before ours are."""
    from moto.moto_server import werkzeug_app

    from infra.local.aws import LocalAws

    monkeypatch.setattr(werkzeug_app, "DISABLE_GLOBAL_CORS", False)
    with LocalAws() as other:
        assert not _answers_other_origins(other)


def _answers_other_origins(aws: LocalAws) -> list[str]:
    headers = {"X-Access-Key": aws.access_key, "Origin": "https://evil.example"}
    with urllib.request.urlopen(urllib.request.Request(aws.url, headers=headers), timeout=10) as answer:  # noqa: S310
        return [name for name in answer.headers if name.lower().startswith("access-control")]


def test_a_taken_port_is_one_clear_line(aws: LocalAws) -> None:
    from infra.local.aws import LocalAws

    port = int(aws.url.rpartition(":")[2])
    with pytest.raises(SentinelError, match=f"127.0.0.1:{port}: the port is taken .*Give another port"):
        LocalAws(port=port)


def test_stopping_leaves_nothing_behind(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a job running, one waiting, a client connected, a late log: no thread, process, file or port of it stays."""
    from infra.local.aws import LocalAws
    from infra.local.batch.faults import LateLogs

    threads, files = set(threading.enumerate()), _open_files()
    with LocalAws() as other:
        session = boto3.session.Session(other.access_key, other.access_key, region_name="ap-northeast-2")
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", other.url)
            patch.setattr(boto3, "DEFAULT_SESSION", session)
            queue = CommandQueue("other")
            other.faults.add(LateLogs(seconds=3600, jobs="late"))
            queue.run("echo", "x", name="late")
            queue.wait(queue.submit("sleep", "600", vcpus=4), "RUNNING")
            queue.wait(queue.submit("true", vcpus=4), "RUNNABLE")
        (pid,) = other.batch.running().values()
        port = int(other.url.rpartition(":")[2])
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not _lives(pid)
    assert set(threading.enumerate()) <= threads
    queue.batch.close()
    queue.logs.close()
    assert _open_files() <= files
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_a_long_poll_is_cut_off_when_the_server_stops(aws: LocalAws) -> None:
    """Rather than answered after 20 seconds, as the caller asked for."""
    from infra.local.aws import LocalAws

    with LocalAws() as other, ThreadPoolExecutor(1) as caller:
        once = Config(retries={"total_max_attempts": 1})
        sqs = boto3.client("sqs", endpoint_url=other.url, config=once, **_keys(other))
        url = sqs.create_queue(QueueName="quiet")["QueueUrl"]
        polling = caller.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        time.sleep(0.3)
        assert not polling.done()
        other.stop()
        with pytest.raises(botocore.exceptions.ConnectionClosedError):
            polling.result(timeout=5)


@contextmanager
def _server() -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """`python -m infra.local.aws` in a process of its own, and the variables it prints."""
    command = [sys.executable, "-m", "infra.local.aws", "--grace-s", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(9)]
            found = [re.fullmatch(r"export (\w+)=(\S+)\n", line) for line in lines]
            yield process, {match[1]: match[2] for match in found if match}
        finally:
            process.kill()


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an office sets one: neither clients nor the server itself go through it."""
    from infra.local.aws import LocalAws

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    with LocalAws() as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        queue = CommandQueue()
        assert queue.lines(queue.run("printenv", "NO_PROXY")) == ["intranet.example,127.0.0.1"]
        aws.reset()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_jobs_end_with_the_server_however_it_ends(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """What a job started ends, too, although nobody tells it; the folders where jobs ran are deleted."""
    with _server() as (process, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        queue = CommandQueue()
        job_id = queue.submit("sh", "-c", "trap '' TERM; sleep 600 & echo $!; pwd; wait")
        grandchild, folder = queue.lines_seen(job_id, 2)
        assert _lives(int(grandchild))
        assert Path(folder).is_dir()
        process.send_signal(number)
        assert process.wait(10) == (-number if number == signal.SIGKILL else 0)
    deadline = time.monotonic() + 10
    while _lives(int(grandchild)) or Path(folder).parent.exists():
        assert time.monotonic() < deadline, "the job outlived its server, or its folder did"
        time.sleep(0.05)


def test_without_moto_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['moto'] = None; import infra.local.aws"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "the local AWS is not installed" in run.stderr
    assert "pip install 'sentinel-cctv[local]'" in run.stderr


def _keys(server: LocalAws) -> dict[str, str]:
    return {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.access_key}


def _open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def _lives(pid: int) -> bool:
    """A process that has ended, and that nobody has waited for, is over too."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")
