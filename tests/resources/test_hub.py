"""A file of a model hub, over HTTP as the hub speaks it: sent on to where files are kept, broken off, gone on with."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from resources.weight_sources import address_on_the_hub, check, copy_from, is_resumed
from resources.weights import Catalogue, State
from sentinel_assets.vision.errors import ModelError, WeightsUnavailable
from tests.resources.test_published_weights import published

SOURCE = "hf:owner/a-model@v1.0#folder/weights.bin"
PATH = "/owner/a-model/resolve/v1.0/folder/weights.bin"
CONTENT = hashlib.sha256(b"weights").digest() * 100_000


@dataclass
class Hub:
    """Two hosts: one that answers under a file's address, and one that it sends on to, which has the bytes."""

    gated: bool = False
    breaks_after: int | None = None
    """Bytes that come before the connection is closed."""
    path: str = PATH
    content: bytes = CONTENT
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    """Host (hub, store), Range and Authorization of each request."""
    store_url: str = ""


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    host: str

    def do_GET(self) -> None:
        hub, given = self.hub, self.headers.get("Authorization")
        hub.asked.append((self.host, self.headers.get("Range"), given))
        if self.host == "hub" and self.path != hub.path:
            self.answer(404)
        elif self.host == "hub" and hub.gated and given != "Bearer secret":
            self.answer(401)
        elif self.host == "hub":
            self.answer(302, Location=f"{hub.store_url}/bytes?Signature=x")
        else:
            self.give(hub)

    def give(self, hub: Hub) -> None:
        tag, data, status, more = f'"{hashlib.md5(hub.content).hexdigest()}"', hub.content, 200, {}  # noqa: S324
        wanted = self.headers.get("Range", "")
        if wanted and self.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            data, status = data[start:], 206
            more = {"Content-Range": f"bytes {start}-{len(hub.content) - 1}/{len(hub.content)}"}
        self.answer(status, data, ETag=tag, **more)

    def answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: self.hub.breaks_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub()
    servers = [
        ThreadingHTTPServer(("127.0.0.1", 0), type("_", (Handler,), {"hub": made, "host": host}))
        for host in ("hub", "store")
    ]
    url, made.store_url = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    monkeypatch.setenv("HF_ENDPOINT", f"{url}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    yield made
    for server in servers:
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()


def fetch(target: Path, source: str = SOURCE, limit: int = len(CONTENT)) -> list[float]:
    told: list[float] = []
    copy_from(source, target, limit, told.append)
    return told


def test_a_file_comes_and_its_progress_is_told(hub: Hub, tmp_path: Path) -> None:
    told = fetch(tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert told == sorted(told)
    assert len(told) > 2
    assert told[-1] == 1.0
    assert hub.asked == [("hub", None, None), ("store", None, None)]


def test_the_address_is_that_of_the_hubs_own_client() -> None:
    client = pytest.importorskip("huggingface_hub")
    revision, odd = "refs/pr/1", "folder/weights #1.bin"
    told = client.hf_hub_url("owner/a-model", odd, revision=revision, endpoint="https://hub")
    assert told == address_on_the_hub("https://hub", f"hf:owner/a-model@{revision}#{odd}")
    told = client.hf_hub_url("owner/a-model", "weights.bin", endpoint="https://hub")
    assert told == address_on_the_hub("https://hub", "hf:owner/a-model#weights.bin")


def test_what_broke_off_is_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    assert is_resumed(SOURCE)
    hub.breaks_after = 1_500_000
    with pytest.raises(WeightsUnavailable, match=r"broke off after 1500000 of 3200000 bytes.*next attempt goes on"):
        fetch(tmp_path / "part")
    hub.breaks_after = None
    fetch(tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert hub.asked[-1] == ("store", "bytes=1500000-", None)


def test_another_file_by_then_comes_from_its_start(hub: Hub, tmp_path: Path) -> None:
    hub.breaks_after = 1_500_000
    with pytest.raises(WeightsUnavailable):
        fetch(tmp_path / "part")
    hub.breaks_after, hub.content = None, CONTENT[::-1]
    fetch(tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == CONTENT[::-1]


def test_a_token_is_for_the_hub_alone(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated = True
    with pytest.raises(WeightsUnavailable, match=r"a-model.*401.*set HF_TOKEN") as refused:
        fetch(tmp_path / "part")
    monkeypatch.setenv("HF_TOKEN", "wrong\n")
    with pytest.raises(WeightsUnavailable, match="401") as wrong:
        fetch(tmp_path / "part")
    assert "wrong" not in str(wrong.value) + str(refused.value)
    monkeypatch.setenv("HF_TOKEN", "secret\n")
    fetch(tmp_path / "part")
    assert hub.asked[-2:] == [("hub", None, "Bearer secret"), ("store", None, None)]


def test_no_more_than_the_catalogue_says_comes(hub: Hub, tmp_path: Path) -> None:
    fetch(tmp_path / "part", limit=1000)
    assert (tmp_path / "part").stat().st_size == 1001


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("hf:owner/a-model@v1.0#none.bin", "404", id="no such file"),
        pytest.param("hf:owner/a-model#folder/weights.bin", "404", id="no revision: main, which has none"),
    ],
)
def test_what_the_hub_has_not_is_one_line(hub: Hub, tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(WeightsUnavailable, match=said) as caught:
        fetch(tmp_path / "part", source)
    assert str(caught.value).startswith(f"{source}: ")


def test_a_hub_that_is_away_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(WeightsUnavailable, match="Connection refused"):
        fetch(tmp_path / "part")
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(WeightsUnavailable, match="HF_ENDPOINT is 'file:///etc', expected an address"):
        fetch(tmp_path / "part")


def test_a_published_file_is_pulled_from_a_repository_and_locked(hub: Hub, tmp_path: Path) -> None:
    """As `sentinel models pull --from hf:OWNER/REPO@REVISION` does."""
    hub.path = "/owner/a-model/resolve/v1.0/weights.bin"
    document = {"models": {"net": published(published_as=["weights.bin"], at_most=len(CONTENT), accept=None)}}
    document["profiles"] = {"gpu": {"pose": ["net"]}}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(document))
    mirror = "hf:owner/a-model@v1.0"
    book = Catalogue.load(tmp_path / "models.yaml", cache=tmp_path / "cache", mirror=mirror)
    path = book.pull(book.model("net"))
    assert path.read_bytes() == CONTENT
    assert book.verify(book.model("net")) is State.LOCKED
    with pytest.raises(ModelError, match=r"not of the form hf:.*hf:OWNER/REPO"):
        Catalogue.load(tmp_path / "models.yaml", cache=tmp_path / "cache", mirror="hf:a-model")


@pytest.mark.parametrize("source", ["hf:model#file", "hf:owner/model", "hf:owner/model@#file", "hf:a/b/c#file", "hf:"])
def test_a_malformed_source_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="not of the form hf:OWNER/REPO@REVISION#FILE"):
        check(source)
