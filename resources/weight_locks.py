"""`models.lock.json`, beside the weights: what was pulled first of files whose sha256 nobody publishes, and which
restricted licences a person accepted.

The first pull of such a file records its sha256; from then on the file is that one or is refused (trust on first use).
Whoever moves the weights to another machine moves this file with them. A sha256 that stands in models.yaml needs no
lock: put it there once the file is known to be the right one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sentinel_assets.vision.errors import ModelError

FILE = "models.lock.json"


@dataclass(frozen=True)
class Lock:
    """The file that was pulled first: its sha256, size in bytes, where it came from, and when (UTC, ISO 8601)."""

    sha256: str
    size: int
    source: str
    recorded: str


@dataclass(frozen=True)
class _Content:
    weights: dict[str, Lock] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    """Name of a licence -> when it was accepted."""


class WeightLocks:
    """Reads the file whenever it is asked: another process may have pulled meanwhile. Writers hold the cache's lock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def lock_of(self, name: str, version: str) -> Lock | None:
        return self._read().weights.get(_key(name, version))

    def accepted(self) -> frozenset[str]:
        return frozenset(self._read().accepted)

    def record(self, name: str, version: str, lock: Lock) -> None:
        content = self._read()
        self._write(_Content({**content.weights, _key(name, version): lock}, content.accepted))

    def accept(self, licences: Iterable[str]) -> None:
        """Each once: when it was accepted first stays on record."""
        content = self._read()
        self._write(_Content(content.weights, {**dict.fromkeys(licences, now()), **content.accepted}))

    def _read(self) -> _Content:
        try:
            plain = json.loads(self.path.read_text("utf-8"))
            weights = {key: Lock(**lock) for key, lock in plain["weights"].items()}
            return _Content(weights, {str(name): str(when) for name, when in plain["accepted"].items()})
        except FileNotFoundError:
            return _Content()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"cannot be read: {error}",
                where=self.path,
                remedy="Delete it and pull again, or restore it from where the weights came from",
            ) from error

    def _write(self, content: _Content) -> None:
        part = self.path.with_name(f"{FILE}.part")
        part.write_text(json.dumps(asdict(content), indent=1, sort_keys=True) + "\n", "utf-8")
        part.replace(self.path)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _key(name: str, version: str) -> str:
    return f"{name}@{version}"
