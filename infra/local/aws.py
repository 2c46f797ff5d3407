"""S3, SQS, CloudWatch Logs, Secrets Manager, STS and Batch on one loopback port, in this process.

    with LocalAws(BatchSettings(gpus=2)) as aws:
        os.environ.update(aws.environment())       # boto3, the aws CLI and any other client find it there
        aws.faults.add(SpotReclaim(jobs="detections-*"))

or `python -m infra.local.aws`, which prints the same variables for a shell and runs until Ctrl-C.

Batch is ours (`infra/local/batch`), and runs jobs as processes; all else is moto, in memory: what is there is gone with
the server. moto's state belongs to the process, so that two servers in one process show the same buckets and queues. A
`BucketMirror` (`infra/local/mirror.py`) keeps one bucket on disk.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shlex
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from infra.local.batch.faults import Faults
from infra.local.batch.service import LocalBatch
from infra.local.batch.settings import BatchSettings
from infra.local.door import Door
from infra.local.mirror import BucketMirror
from sentinel_assets.vision.errors import SentinelError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HOST = "127.0.0.1"
_REQUESTS_END_S = 1.0  # for those under way when the server stops

try:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import ThreadedWSGIServer
except ImportError as error:
    raise SentinelError(
        f"the local AWS is not installed ({error})", remedy="Run: pip install 'sentinel-cctv[local]'"
    ) from error


class LocalAws:
    """The server. It runs from the making of this object to `stop`, or for as long as the `with` block."""

    def __init__(
        self,
        settings: BatchSettings | None = None,
        *,
        port: int = 0,
        access_key: str | None = None,
        mirror: BucketMirror | None = None,
    ) -> None:
        """`port` 0: a free one. `access_key`: what callers sign with (`environment` has it); None: a new one.

        Raises SentinelError when the port is taken.
        """
        self.settings = settings or BatchSettings()
        self.access_key = access_key or f"LOCAL{secrets.token_hex(8).upper()}"
        try:
            self._server = _Server(port)
        except OSError as error:
            remedy = "Give another port, or 0 for a free one"
            raise SentinelError(f"the port is taken ({error})", where=f"{_HOST}:{port}", remedy=remedy) from error
        self.url = f"http://{_HOST}:{self._server.port}"
        container = {**_of_this_machine(), **self.environment()}
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="local-aws", daemon=True)
        self.batch = LocalBatch(self.url, self.access_key, self.settings, container)
        moto: WSGIApplication = DomainDispatcherApplication(create_backend_app)
        if mirror is not None:
            moto = mirror.around(moto)

        def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            inner: Any = self.batch if self.batch.is_for(environ) else moto
            answer: Iterable[bytes] = inner(environ, start_response)
            return answer

        self._server.app = Door(application, self.access_key)
        self._thread.start()

    @property
    def faults(self) -> Faults:
        """What Batch is told to do wrong."""
        return self.batch.faults

    def environment(self) -> dict[str, str]:
        """The variables by which an AWS client finds this server, past a proxy and the user's own account."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.access_key,
            "AWS_DEFAULT_REGION": self.settings.region,
            "AWS_REGION": self.settings.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": ",".join([*filter(None, [os.environ.get("NO_PROXY")]), _HOST]),
        }

    def reset(self) -> None:
        """Empty everything: jobs are killed, buckets, queues, logs and secrets are gone, no fault is in force."""
        self.batch.reset()
        request = urllib.request.Request(f"{self.url}/moto-api/reset", b"", {"X-Access-Key": self.access_key})  # noqa: S310
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()

    def stop(self) -> None:
        """Kill the jobs, cut off what is being asked, free the port. No process, connection or thread is left.

        But for a long poll of SQS: its caller is cut off too, yet moto's thread sleeps until the poll is over (20 s).
        """
        self.batch.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> LocalAws:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Handler(MotoRequestHandler):
    """Without a line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class _Server(ThreadedWSGIServer):
    """A thread for each request, which takes a connection; those under way are cut off on closing."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self._requests: dict[threading.Thread, socket.socket] = {}
        self._requests_lock = threading.Lock()
        with socket.create_server((_HOST, port)) as listener:  # werkzeug would exit when the port is taken
            super().__init__(_HOST, port, _not_yet, handler=_Handler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._requests_lock:  # before it runs: a request that came last is cut off, too
            self._requests[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._requests_lock:
                del self._requests[threading.current_thread()]

    def server_close(self) -> None:
        super().server_close()
        with self._requests_lock:
            requests = dict(self._requests)
        deadline = time.monotonic() + _REQUESTS_END_S
        for thread, connection in requests.items():
            with contextlib.suppress(OSError):  # it ends at this moment by itself
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(max(0.0, deadline - time.monotonic()))


def _not_yet(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise RuntimeError("the server is not started")


def _of_this_machine() -> dict[str, str]:
    """What a container has of its own; with our interpreter first, jobs that run `python` find what is installed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    home = os.environ.get("HOME", str(Path("/")))
    return {"PATH": path, "HOME": home, "LANG": os.environ.get("LANG", "C.UTF-8")}


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.aws", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--access-key", help="what clients sign with; a new one, if not given")
    parser.add_argument("--gpus", type=int, default=BatchSettings.gpus)
    parser.add_argument("--grace-s", type=float, default=BatchSettings.grace_s, help="from SIGTERM to SIGKILL")
    parser.add_argument("--minimum-timeout-s", type=int, default=BatchSettings.minimum_timeout_s)
    parser.add_argument("--workdir", type=Path, help="where jobs run; a new folder for each, if not given")
    given = parser.parse_args(arguments)
    settings = BatchSettings(
        gpus=given.gpus, grace_s=given.grace_s, minimum_timeout_s=given.minimum_timeout_s, workdir=given.workdir
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with LocalAws(settings, port=given.port, access_key=given.access_key) as aws:
        for name, value in aws.environment().items():
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
        sys.stdout.flush()
        ended.wait()


if __name__ == "__main__":
    main()
