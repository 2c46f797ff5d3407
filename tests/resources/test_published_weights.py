"""Weights that people put somewhere by hand: licences accepted by name, files locked at their first pull, and downloads
that go on where they broke off."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from resources.weight_locks import FILE
from resources.weights import Catalogue, State
from sentinel_assets.vision.errors import ModelError, WeightsMismatch, WeightsUnavailable

CONTENT = bytes(range(256)) * 8192
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def published(**changes: Any) -> dict[str, Any]:
    fields = {
        "roles": ["pose"],
        "version": "1",
        "licence": "for research",
        "purpose": "a test",
        "published_as": ["model.pth", "model_old.pth"],
        "published_at": "https://example.org/model",
        "at_most": len(CONTENT) + 10,
        "accept": "research",
    }
    return {**fields, **changes}


def catalogue(tmp_path: Path, mirror: Path | str | None = None, **changes: Any) -> Catalogue:
    path = tmp_path / "models.yaml"
    document = {"models": {"net": published(**changes)}, "profiles": {"gpu": {"pose": ["net"]}}}
    path.write_text(yaml.safe_dump(document))
    return Catalogue.load(path, cache=tmp_path / "cache", mirror=str(mirror) if mirror else None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As the authors' file lies on a disk."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.pth").write_bytes(CONTENT)
    return tmp_path / "folder"


def pulled(tmp_path: Path, folder: Path) -> Path:
    book = catalogue(tmp_path, folder)
    book.accept(["research"])
    return book.pull(book.model("net"))


def test_one_line_says_all_that_a_person_must_do_first(tmp_path: Path) -> None:
    book = catalogue(tmp_path)
    assert book.verify(book.model("net")) is State.ABSENT
    with pytest.raises(ModelError) as raised:
        book.require_usable("gpu")
    text = str(raised.value)
    assert "net never pulled" in text
    assert "for research" in text
    assert "`sentinel models pull --profile gpu --accept-licence research --from FOLDER`" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("mirror", "said"),
    [
        pytest.param("s3://models/gpu", " --from s3://models/gpu`", id="the place that was given"),
        pytest.param("hf:owner/repository@v1.0", " --from hf:owner/repository@v1.0`", id="of a hub"),
        pytest.param("http://mirror:8080/weights", " --from http://mirror:8080/weights`", id="with its port"),
        pytest.param("/my models", " --from '/my models'`", id="quoted"),
        pytest.param("https://me:word@models.example", " --from FOLDER`", id="no password"),
        pytest.param("https://models.example/?X-Amz-Signature=word", " --from FOLDER`", id="no signature"),
    ],
)
def test_the_command_that_mends_it_can_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: str, said: str
) -> None:
    command = "sentinel models pull --profile gpu --accept-licence research"
    with pytest.raises(ModelError) as raised:
        catalogue(tmp_path, mirror).require_usable("gpu", to_pull=True)
    assert str(raised.value).endswith(f"`{command}{said}")
    monkeypatch.setenv("SENTINEL_MODELS_MIRROR", mirror)
    with pytest.raises(ModelError) as raised:
        catalogue(tmp_path).require_usable("gpu")
    assert str(raised.value).endswith(f"`{command}`")


def test_nothing_is_used_before_its_licence_is_accepted(tmp_path: Path, folder: Path) -> None:
    book = catalogue(tmp_path, folder)
    with pytest.raises(ModelError, match="--accept-licence research"):
        book.fetch(book.model("net"))
    with pytest.raises(ModelError, match="--accept-licence research"):
        book.require_usable("gpu", to_pull=True)
    with pytest.raises(ModelError, match=r"no model asks for the licence mit.*Choose among research"):
        book.accept(["mit"])
    book.accept(["research"])
    book.require_usable("gpu", to_pull=True)
    first = json.loads((tmp_path / "cache" / FILE).read_text())["accepted"]["research"]
    book.accept(["research"])
    assert json.loads((tmp_path / "cache" / FILE).read_text())["accepted"] == {"research": first}


def test_the_first_pull_locks_the_file(tmp_path: Path, folder: Path) -> None:
    path = pulled(tmp_path, folder)
    assert path.read_bytes() == CONTENT
    book = catalogue(tmp_path)  # without the folder: what is here suffices
    entry = book.model("net")
    assert (entry.sha256, entry.size, entry.is_locked) == (SHA256, len(CONTENT), True)
    assert book.verify(entry) is State.LOCKED
    assert book.fetch(entry) == book.pull(entry) == path
    book.require_usable("gpu")
    lock = json.loads((tmp_path / "cache" / FILE).read_text())["weights"]["net@1"]
    assert lock["sha256"] == SHA256
    assert lock["source"] == f"file:{folder}/model.pth"


def test_another_file_than_the_one_that_was_locked_is_refused(tmp_path: Path, folder: Path) -> None:
    path = pulled(tmp_path, folder)
    path.write_bytes(CONTENT[:-1])
    book = catalogue(tmp_path, folder)
    assert book.verify(book.model("net")) is State.MISMATCH
    with pytest.raises(WeightsMismatch, match="it was not loaded"):
        book.fetch(book.model("net"))
    (folder / "model.pth").write_bytes(b"another")
    with pytest.raises(WeightsMismatch, match=SHA256):
        book.pull(book.model("net"))
    (folder / "model.pth").write_bytes(CONTENT)
    assert book.pull(book.model("net")).read_bytes() == CONTENT


def test_a_new_version_is_another_file(tmp_path: Path, folder: Path) -> None:
    pulled(tmp_path, folder)
    book = catalogue(tmp_path, folder, version="2")
    assert book.model("net").sha256 is None
    with pytest.raises(ModelError, match="never pulled"):
        book.fetch(book.model("net"))


def test_a_sha256_in_the_catalogue_needs_no_lock(tmp_path: Path, folder: Path) -> None:
    book = catalogue(tmp_path, folder, sha256=SHA256, size=len(CONTENT), accept=None)
    assert book.verify(book.model("net")) is State.ABSENT
    book.fetch(book.model("net"))
    assert book.verify(book.model("net")) is State.VERIFIED


def test_the_other_name_of_a_file_is_taken_too(tmp_path: Path, folder: Path) -> None:
    (folder / "model.pth").rename(folder / "model_old.pth")
    assert pulled(tmp_path, folder).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"", CONTENT + bytes(20)], ids=["empty", "too large"])
def test_a_file_of_an_impossible_size_is_not_locked(tmp_path: Path, folder: Path, content: bytes) -> None:
    (folder / "model.pth").write_bytes(content)
    with pytest.raises(WeightsUnavailable, match=r"bytes, at most.*Get model.pth from https://example.org/model"):
        pulled(tmp_path, folder)
    assert catalogue(tmp_path).model("net").sha256 is None


def test_where_nothing_gives_the_file_it_is_said_where_to_get_it(tmp_path: Path) -> None:
    book = catalogue(tmp_path)
    book.accept(["research"])
    with pytest.raises(WeightsUnavailable, match=r"Get model\.pth from https://example\.org/model"):
        book.pull(book.model("net"))


def test_a_broken_lock_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FILE).write_text("{")
    with pytest.raises(ModelError, match="Delete it and pull again"):
        catalogue(tmp_path).model("net")


@pytest.mark.parametrize("changes", [{"at_most": None}, {"sha256": SHA256}], ids=["no limit", "no size"])
def test_half_an_entry_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="published_as needs at_most"):
        catalogue(tmp_path, **changes)


def test_a_role_is_filled_by_other_models_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_MODEL_POSE", "movenet, yolo11n-pose")
    book = Catalogue.load()
    assert [entry.name for entry in book.profile("gpu")["pose"]] == ["movenet", "yolo11n-pose"]
    assert "mebow" not in {entry.name for entry in book.members("gpu")}
    monkeypatch.setenv("SENTINEL_MODEL_POSE", "yolov8n")
    with pytest.raises(ModelError, match=r"SENTINEL_MODEL_POSE.*does not have the role pose"):
        Catalogue.load().profile("gpu")


class Breaking(BaseHTTPRequestHandler):
    """Serves CONTENT, but breaks each answer off after 1 MB; goes on from where it is asked to."""

    tag = '"one"'
    asked: list[str]

    def do_GET(self) -> None:
        given = self.headers.get("Range", "")
        type(self).asked.append(given)
        current = self.headers.get("If-Range", self.tag) == self.tag
        start = int(given.removeprefix("bytes=").rstrip("-")) if given and current else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", self.tag)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + (1 << 20)])
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def breaking() -> Iterator[tuple[str, type[Breaking]]]:
    handler = type("Handler", (Breaking,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", handler
        http.shutdown()
        thread.join()


def test_a_download_goes_on_where_it_broke_off(tmp_path: Path, breaking: tuple[str, type[Breaking]]) -> None:
    """A file that stopped short is never locked, and what came of it does not come again."""
    address, handler = breaking
    book = catalogue(tmp_path, address, accept=None, published_as=["model.pth"])
    with pytest.raises(WeightsUnavailable, match=f"broke off after {1 << 20} of {len(CONTENT)} bytes"):
        book.pull(book.model("net"))
    assert book.model("net").sha256 is None
    fractions: list[float] = []
    assert book.pull(book.model("net"), fractions.append).read_bytes() == CONTENT
    assert handler.asked == ["", f"bytes={1 << 20}-"]
    assert fractions == sorted(fractions)
    assert fractions[0] > 0.5
    assert not list((tmp_path / "cache").glob(".partial-*"))


def test_of_another_file_nothing_is_kept(tmp_path: Path, breaking: tuple[str, type[Breaking]]) -> None:
    """What came before belongs to a file that is no longer there: it begins anew."""
    address, handler = breaking
    book = catalogue(tmp_path, address, accept=None, published_as=["model.pth"])
    for tag in ('"one"', '"two"'):
        handler.tag = tag
        with pytest.raises(WeightsUnavailable, match=f"broke off after {1 << 20} of"):
            book.pull(book.model("net"))
    assert book.pull(book.model("net")).read_bytes() == CONTENT
