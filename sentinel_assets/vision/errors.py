"""The one tree of exceptions; each says what is wrong, where, and what to do next.

SentinelError                   everything that we raise on purpose
├── FootageError                the video itself is the matter; trying again cannot help
│   ├── FootageMissing          nothing at that path or key
│   ├── NotAVideo               not a container that can be read, or without a video stream
│   ├── FootageDamaged          a video, but its frames cannot be decoded, or not all of it is there
│   └── FootageTooPoor          a whole video in which nothing could be recognised: one frame, or a few pixels
├── ModelError                  weights or a model's output are not what they should be
│   ├── WeightsMismatch         sha256 differs from the catalogue: never loaded
│   └── WeightsUnavailable      no source gave the file (may be retried)
├── TableError                  rows that break their declared schema
└── StoreError                  artifacts or warehouse
    ├── ArtifactMissing         an upstream output is not there
    ├── StoreUnavailable        database or store away, disk full (may be retried)
    └── StoreRejected           the store answered, and refused
"""

from __future__ import annotations

from typing import ClassVar


class SentinelError(Exception):
    """Base of all. `is_retryable` says whether the same call may succeed later without a change.

    `what` is the fault, `where` the file, table or address it was found at, `remedy` the next step;
    together they print as one line, in which no file name can speak to the terminal.
    """

    is_retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, where: object = "", remedy: str = "") -> None:
        self.what = " ".join(what.split())
        self.where = str(where)
        self.remedy = " ".join(remedy.split())
        # All three go to Exception, so that an error survives the way between processes.
        super().__init__(self.what, self.where, self.remedy)

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        remedy = f". {self.remedy}" if self.remedy else ""
        return printable(f"{where}{self.what}{remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def printable(text: str) -> str:
    """The text with its line breaks, control characters, changes of direction and undecodable bytes written out."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def _rebuild(kind: type[SentinelError], what: str, where: str, remedy: str) -> SentinelError:
    return kind(what, where=where, remedy=remedy)


class FootageError(SentinelError):
    """The video itself is the matter."""


class FootageMissing(FootageError):
    """Nothing at that path or key."""


class NotAVideo(FootageError):
    """Not a container that can be read, or one without a video stream."""


class FootageDamaged(FootageError):
    """A video whose frames cannot be decoded, or of which a part is missing."""


class FootageTooPoor(FootageError):
    """A whole video in which nothing could be recognised: a single frame, or frames of a few pixels."""


class ModelError(SentinelError):
    """Weights, or a model's output, are not what they should be."""


class WeightsMismatch(ModelError):
    """The file's sha256 differs from the catalogue's; it was not loaded."""


class WeightsUnavailable(ModelError):
    """No source gave the file."""

    is_retryable = True


class TableError(SentinelError):
    """Rows that break their declared schema."""


class StoreError(SentinelError):
    """Artifacts or warehouse."""


class ArtifactMissing(StoreError):
    """An upstream output is not there."""


class StoreUnavailable(StoreError):
    """The database or the store is away, or its disk is full."""

    is_retryable = True


class StoreRejected(StoreError):
    """The store answered, and refused."""
