"""The host tells its type, how it was bought, and when it is to be taken back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from batch_step.machine import Machine, spot_notice

TOLD = {"instance-type": "g5.xlarge", "instance-life-cycle": "spot"}


class Service(BaseHTTPRequestHandler):
    """Instance metadata, version 2: nothing without a token."""

    told: ClassVar[dict[str, str]] = dict(TOLD)

    def do_PUT(self) -> None:
        self._answer(200, "token")

    def do_GET(self) -> None:
        value = self.told.get(self.path.removeprefix("/latest/meta-data/"))
        allowed = self.headers.get("X-aws-ec2-metadata-token") == "token"
        self._answer(401 if not allowed else 404 if value is None else 200, value or "")

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Service]]:
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        yield Service
        Service.told = dict(TOLD)
        server.shutdown()
        thread.join()


def test_a_host_says_what_it_is(service: type[Service]) -> None:
    assert Machine.here() == Machine("g5.xlarge", "spot")


def test_a_reclaim_is_known_once_it_is_announced(service: type[Service]) -> None:
    assert not spot_notice()
    service.told["spot/instance-action"] = '{"action": "terminate"}'
    assert spot_notice()
