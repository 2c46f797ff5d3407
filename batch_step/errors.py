"""The one tree of exceptions; each says what is wrong, where, and what to do next.

BatchStepError                everything that is raised on purpose
├── ChannelUnavailable        the folder or S3 prefix cannot be read or written just now (may be retried)
├── ReferenceInvalid          what stands in the channel is not a step reference that this version reads
├── CodeMismatch              the code location in the image is not the one that launched the step
├── LimitExceeded             AWS Batch would refuse the job, or fail it after accepting it
├── BatchUnavailable          AWS Batch does not answer, or throttles without end (may be retried)
├── SubmitUncertain           SubmitJob gave no answer, and no job of that name can be found
├── Superseded                another run worker has taken this step over
└── StepLost                  a job ended without saying how its step went; carries the verdict
"""

from __future__ import annotations

from typing import ClassVar


class BatchStepError(Exception):
    """Base of all. `is_retryable` says whether the same call may succeed later without a change."""

    is_retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, where: object = "", remedy: str = "") -> None:
        self.what = what
        self.where = str(where)
        self.remedy = remedy
        super().__init__(what, self.where, remedy)

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{where}{self.what}{remedy}"


class ChannelUnavailable(BatchStepError):
    """The folder or S3 prefix cannot be read or written just now."""

    is_retryable = True


class ReferenceInvalid(BatchStepError):
    """Not a step reference, or one of another version."""


class CodeMismatch(BatchStepError):
    """The two sides run different code: what would come back could not be trusted."""


class LimitExceeded(BatchStepError):
    """A documented limit of AWS Batch."""


class BatchUnavailable(BatchStepError):
    """AWS Batch does not answer, or throttles without end."""

    is_retryable = True


class SubmitUncertain(BatchStepError):
    """SubmitJob gave no answer, and no job of that name can be found."""

    is_retryable = True


class Superseded(BatchStepError):
    """Another run worker has taken this step over; this one must not act on it any more."""


class StepLost(BatchStepError):
    """A job ended without saying how its step went."""
