"""What the worker is asked to run: Dagster's step reference, as JSON of its whitelisted serdes, and what it leaves out.

Dagster's own launchers send a pickle. JSON is readable, is not executed by whoever loads it, and does not care which
minor version of Python stands on the other side.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import dagster as dg

from batch_step.dagster_internals import KnownExecutionState, ReconstructableJob, RetryMode, StepRunRef
from batch_step.errors import CodeMismatch, ReferenceInvalid

_FORMAT = 2
_SOURCES = (".py", ".yaml", ".yml", ".toml")
CODE_VERSION_ENV = "BATCH_STEP_CODE_VERSION"


@dataclass(frozen=True)
class CodeVersion:
    """What code the host runs, so that the worker can refuse to be another.

    `sources`: a digest of the sources of `packages`, computed on both sides. `named`: a name that whoever builds
    the image puts in BATCH_STEP_CODE_VERSION, for code locations whose behaviour is not all in such files.
    """

    kind: Literal["sources", "named"]
    value: str
    packages: tuple[str, ...] = ()
    dagster: str = dg.__version__

    @classmethod
    def of_packages(cls, packages: Sequence[str]) -> CodeVersion:
        return cls("sources", sources_digest(tuple(packages)), tuple(packages))

    def require_here(self) -> None:
        """Raises CodeMismatch unless this process runs the same code and the same Dagster."""
        if self.dagster != dg.__version__:
            raise CodeMismatch(f"launched by Dagster {self.dagster}, the image has {dg.__version__}", remedy=_REBUILD)
        if self.kind == "named":
            here, what = os.environ.get(CODE_VERSION_ENV, "nothing"), CODE_VERSION_ENV
        else:
            here, what = sources_digest(self.packages), f"the sources of {', '.join(self.packages)}"
        if here != self.value:
            raise CodeMismatch(f"{what}: launched from {self.value}, the image has {here}", remedy=_REBUILD)


_REBUILD = "Deploy the code location and the job's image from the same commit"


@lru_cache
def sources_digest(packages: tuple[str, ...]) -> str:
    """A digest of what decides how packages (or single modules) behave, Python and configuration: paths and bytes."""
    digest = sha256()
    for package in packages:
        try:
            spec = find_spec(package)
        except ModuleNotFoundError:
            spec = None
        if spec is None:
            raise CodeMismatch(f"there is no package {package!r} here", remedy=_REBUILD)
        roots = [Path(p) for p in spec.submodule_search_locations or []]
        if roots:
            found = ((root, file) for root in roots for file in root.rglob("*") if file.suffix in _SOURCES)
            files = sorted((file.relative_to(root).as_posix(), file) for root, file in found)
        else:
            files = [(package, Path(spec.origin or ""))]
        for name, file in files:
            digest.update(f"{package}/{name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def packages_of(job: ReconstructableJob) -> tuple[str, ...]:
    """The package that holds the module a code location is loaded from."""
    pointer: Any = job.repository.pointer
    pointer = getattr(pointer, "reconstructor_pointer", pointer)
    module = getattr(pointer, "module", None)
    if module is None:
        raise ReferenceInvalid(
            f"the code location is loaded from a file ({pointer.describe()}), which the image may hold elsewhere",
            remedy="Load it by module, or give the launcher `code_packages` or `code_version`",
        )
    return (module.rpartition(".")[0] or module,)


@dataclass(frozen=True)
class StepReference:
    """All that a worker needs: the step, the dynamic partitions that it can see, and the terms that it runs under."""

    step: StepRunRef
    partitions: dict[str, list[str]]
    code: CodeVersion
    lease_seconds: float
    timeout_seconds: float | None = None
    resume_seconds: float = 0.0
    """How much longer than the lease a job waits, for a run worker that resumes the run."""
    told: dict[str, Any] = field(default_factory=dict)
    """What the host knows and the step needs (`notes.told`), as JSON types."""

    def dump(self) -> bytes:
        known = self.step.known_state
        return json.dumps(
            {
                "format": _FORMAT,
                "code": vars(self.code),
                "lease_seconds": self.lease_seconds,
                "timeout_seconds": self.timeout_seconds,
                "resume_seconds": self.resume_seconds,
                "partitions": self.partitions,
                "told": self.told,
                "run_config": self.step.run_config,
                "run": dg.serialize_value(self.step.dagster_run),
                "retry_mode": self.step.retry_mode.value,
                "step_key": self.step.step_key,
                "job": dg.serialize_value(cast(Any, self.step.recon_job)),
                "known_state": None if known is None else dg.serialize_value(cast(Any, known)),
            }
        ).encode()

    @classmethod
    def load(cls, data: bytes) -> StepReference:
        """Refuses other code before it touches what that code wrote."""
        try:
            message = json.loads(data)
        except ValueError as e:
            raise ReferenceInvalid(f"not JSON: {e}") from e
        if not isinstance(message, dict) or message.get("format") != _FORMAT:
            found = message.get("format") if isinstance(message, dict) else type(message).__name__
            raise ReferenceInvalid(f"format {found}, this worker reads {_FORMAT}", remedy=_REBUILD)
        code = CodeVersion(**{**message["code"], "packages": tuple(message["code"]["packages"])})
        code.require_here()
        run = dg.deserialize_value(message["run"], dg.DagsterRun)
        known = message["known_state"]
        step = StepRunRef(
            run_config=message["run_config"],
            dagster_run=run,
            run_id=run.run_id,
            retry_mode=RetryMode(message["retry_mode"]),
            step_key=message["step_key"],
            recon_job=dg.deserialize_value(message["job"], ReconstructableJob),
            known_state=None if known is None else dg.deserialize_value(known, KnownExecutionState),
        )
        terms = {name: message[name] for name in ("lease_seconds", "timeout_seconds", "resume_seconds", "told")}
        return cls(step, message["partitions"], code, **terms)
