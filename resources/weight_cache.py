"""The folder of weights on this machine: a file enters it whole, by one rename, and one process at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sentinel_assets.vision.errors import StoreRejected, StoreUnavailable, WeightsUnavailable

_INCOMING, _PARTIAL = ".incoming-", ".partial-"
_LOCK = ".lock"


class WeightCache:
    """All methods raise StoreUnavailable where the disk is full, StoreRejected where it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        return self._folder / name

    def keep(self, part: Path, name: str) -> Path:
        """The file that came down, under its name."""
        target = self.path(name)
        with self._telling_of_the_disk():
            target.parent.mkdir(exist_ok=True)
            part.replace(target)
        return target

    def set_aside(self, path: Path, aside: Path) -> None:
        with self._telling_of_the_disk():
            path.replace(aside)

    @contextmanager
    def landing(self, what: str, resumed: bool) -> Iterator[Path]:
        """Where a file comes down, on the cache's file system, so that it enters the cache by one rename.

        `resumed`: what the source gave before it broke off (WeightsUnavailable) stays, and the next attempt at `what`
        goes on from there.
        """
        if not resumed:
            with (
                self._telling_of_the_disk(),
                tempfile.TemporaryDirectory(prefix=_INCOMING, dir=self._folder, ignore_cleanup_errors=True) as name,
            ):
                yield Path(name) / "part"
            return
        folder = self.path(f"{_PARTIAL}{hashlib.sha256(what.encode()).hexdigest()[:16]}")
        with self._telling_of_the_disk():
            folder.mkdir(exist_ok=True)
            try:
                yield folder / "part"
            except WeightsUnavailable:
                if not any(path.stat().st_size for path in folder.rglob("*") if path.is_file()):
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Hold the cache for this process alone, and clear what a killed one left behind."""
        with self._telling_of_the_disk():
            self._folder.mkdir(parents=True, exist_ok=True)
            with self.path(_LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for leftover in self._folder.glob(f"{_INCOMING}*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                yield

    @contextmanager
    def _telling_of_the_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreUnavailable(
                    "the disk is full",
                    where=self._folder,
                    remedy="Free some space, or set SENTINEL_WEIGHTS to another folder",
                ) from error
            raise StoreRejected(
                f"the weights cannot be kept there: {error.strerror or error}",
                where=error.filename or self._folder,
                remedy="Set SENTINEL_WEIGHTS to a folder that can be written",
            ) from error


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
