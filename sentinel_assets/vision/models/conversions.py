"""Published checkpoints, converted once to safetensors: a network then starts by mapping a file into memory.

Constructing a network fills it with random numbers, and unpickling copies every tensor, both to be overwritten or
thrown away. Here the network is built on the meta device, where tensors have shapes and no memory, and is given the
tensors of the mapped file.

The copy lies beside its source, with a lock file (JSON) that says what it was made from and its sha256. A copy that is
not what its lock says, or not of this source, is made again. Where the folder cannot be written, there is no copy, and
each start reads the source.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.checkpoints import Tensors, require_finite, require_match

Network = TypeVar("Network", bound=torch.nn.Module)

REVISION = 1
"""Of this format; raised when a copy of an earlier one may not be taken."""

_FACTS = "facts"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Weights:
    """A network's tensors, and what else its checkpoint says that the model needs (JSON types)."""

    tensors: Tensors
    facts: Mapping[str, Any] = field(default_factory=dict)


def converted(source: Path, read: Callable[[Path], Weights], *, dtype: torch.dtype) -> Weights:
    """The weights in `source`, floating-point ones as `dtype`: from its copy, which is made first where there is none.

    `read` gets them out of the source; it raises ModelError where they are not what they should be, so that no copy of
    a bad file is ever made. Raises ModelError too where a value is too large for `dtype`.
    """
    if not source.is_file():
        raise ModelError("there is no such file of weights", where=source, remedy="Run `sentinel models pull`")
    copy = source.with_name(f"{source.name}.{str(dtype).removeprefix('torch.')}.safetensors")
    if _is_current(copy, source):
        return _open(copy)
    weights = read(source)
    require_finite(weights.tensors, source)
    weights = _cast(weights, dtype, source)
    try:
        _write(copy, source, weights)
    except OSError as error:
        log.warning("no converted copy of %s, each start reads it anew: %s", source, error)
        return weights
    return _open(copy)


def assembled(build: Callable[[], Network], tensors: Tensors, where: object, device: torch.device) -> Network:
    """The network that `build` makes, with exactly these tensors, in evaluation mode and on the device; on a GPU with
    channels last. Raises ModelError where the tensors are not the network's."""
    network = unfilled(build)
    require_match(tensors, network.state_dict(), where)
    network.load_state_dict(tensors, strict=True, assign=True)
    network.requires_grad_(False)
    if device.type == "cpu":
        return network.eval()
    return network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def unfilled(build: Callable[[], Network]) -> Network:
    """The network on the meta device: tensors with names and shapes, without memory and without initial values."""
    with torch.device("meta"), _WithoutFilling():
        return build()


class _WithoutFilling(TorchFunctionMode):
    """Lets what initialises tensors in place do nothing: on the meta device it has no effect, but takes its time."""

    _FILLERS = frozenset(
        getattr(torch.Tensor, name)
        for name in ("add_", "clamp_", "erfinv_", "fill_", "mul_", "normal_", "uniform_", "zero_")
    )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return args[0] if func in self._FILLERS else func(*args, **(kwargs or {}))


def chosen_device(name: str | None) -> tuple[torch.device, torch.dtype]:
    """The device of that name (None: the GPU where there is one), and the numbers to compute with there: float16 on a
    GPU, float32 on a CPU."""
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    return device, torch.float16 if device.type == "cuda" else torch.float32


def _lock_of(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.lock.json")


def _is_current(copy: Path, source: Path) -> bool:
    try:
        lock = json.loads(_lock_of(copy).read_text("utf-8"))
        made_from = {key: lock[key] for key in _origin(source)}
        if made_from != _origin(source):
            return False
        with copy.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError, OSError) as error:
        log.warning("the converted copy of %s is made again: %s", source, error)
        return False
    if sha256 != lock["sha256"]:
        log.warning("the converted copy of %s is not what its lock says, and is made again", source)
        return False
    return True


def _origin(source: Path) -> dict[str, int]:
    """By what a copy knows its source; that the source itself is the right file, the catalogue sees to."""
    about = source.stat()
    return {"revision": REVISION, "source_size": about.st_size, "source_mtime_ns": about.st_mtime_ns}


def _open(copy: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(copy, framework="pt", device="cpu") as file:
            facts = json.loads((file.metadata() or {}).get(_FACTS, "{}"))
            return Weights({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ModelError(f"cannot be read: {error}", where=copy, remedy="Delete it; it is made again") from error


def _cast(weights: Weights, dtype: torch.dtype, source: Path) -> Weights:
    # Contiguous copies: two names for one memory, or a slice of more, are not what safetensors stores.
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).clone(memory_format=torch.contiguous_format)
        for name, tensor in weights.tensors.items()
    }
    large = [name for name, tensor in tensors.items() if tensor.is_floating_point() and bool(tensor.isinf().any())]
    if large:
        raise ModelError(
            f"{large[0]} has values too large for {dtype}",
            where=source,
            remedy="Give the model the option `precision: float32` in models.yaml",
        )
    return Weights(tensors, weights.facts)


def _write(copy: Path, source: Path, weights: Weights) -> None:
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory(prefix=".converting-", dir=copy.parent) as folder:
        part, lock = Path(folder) / "part", Path(folder) / "lock"
        save_file(weights.tensors, part, metadata={_FACTS: json.dumps(dict(weights.facts), sort_keys=True)})
        with part.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        lock.write_text(json.dumps({**_origin(source), "sha256": sha256}, indent=1) + "\n", "utf-8")
        part.replace(copy)
        lock.replace(_lock_of(copy))
