"""Reads checkpoints that others published, without running anything of theirs.

A `.pt`, `.pth` or `.pth.tar` is a pickle, and a pickle is a program. Here it is read by torch's restricted unpickler
(`weights_only=True`), which builds tensors, containers and plain values, and refuses to import anything else. What is
then in hand is compared with the network that it is for, tensor by tensor, before a network exists.
"""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from sentinel_assets.vision.errors import ModelError

Tensors = dict[str, torch.Tensor]

_VERIFY = "It was not loaded; run `sentinel models verify`"
_NAMED = 3
"""So many names an error spells out; how many more there are it only counts."""

_PLAIN_DTYPES = tuple(type(np.dtype(code)) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"))


def read_checkpoint(path: Path) -> Any:
    """What `torch.save` put into this file, made of tensors, containers and plain values.

    Besides those, an `argparse.Namespace` and NumPy's numbers are let through: training scripts leave them in their
    checkpoints. Raises ModelError where the file is absent, damaged, or would import anything else.
    """
    if not path.is_file():
        raise ModelError("there is no such file of weights", where=path, remedy="Run `sentinel models pull`")
    _refuse_odd_archives(path)
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        argparse.Namespace,
        np.dtype,
        *_PLAIN_DTYPES,
        (_number, "numpy.core.multiarray.scalar"),  # as NumPy 1 names it
        (_number, "numpy._core.multiarray.scalar"),
    ]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on unusual pickles: what is wrong with one is raised
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"would run {named[1]} when it is read" if named else "holds more than tensors and plain values"
        raise ModelError(f"this checkpoint {what}", where=path, remedy=_VERIFY) from error
    except (
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        OSError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
        struct.error,
    ) as error:  # all that torch 2.14 raises at pickles and archives that are cut short or have bytes changed
        raise ModelError(
            f"not a whole checkpoint of torch ({type(error).__name__})", where=path, remedy=_VERIFY
        ) from error


def tensors_of(value: object, where: object, *, prefix: str = "module.") -> Tensors:
    """A state dict in hand as name -> tensor; `prefix`, where every name has it, is what a wrapper put before them."""
    if not isinstance(value, Mapping) or not value:
        raise ModelError(f"expected a state dict, found {_kind(value)}", where=where, remedy=_VERIFY)
    wrapped = all(isinstance(name, str) and name.startswith(prefix) for name in value)
    tensors: Tensors = {}
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise ModelError(f"expected tensors by name, found {_kind(tensor)} at {name!r}", where=where)
        tensors[name.removeprefix(prefix) if wrapped else name] = tensor.detach()
    return tensors


def require_match(tensors: Tensors, expected: Mapping[str, torch.Tensor], where: object) -> None:
    """Refuse tensors that are not exactly those of the network: its names, shapes and kinds of number.

    `expected` is the network's own state dict; on the meta device it takes no memory.
    """
    missing = [name for name in expected if name not in tensors]
    surplus = [name for name in tensors if name not in expected]
    differing = [
        f"{name} {_shape(tensors[name])}, expected {_shape(tensor)}"
        for name, tensor in expected.items()
        if name in tensors
        and (tensors[name].shape != tensor.shape or tensors[name].is_floating_point() != tensor.is_floating_point())
    ]
    found = [("missing", missing), ("not of this network", surplus), ("of another shape", differing)]
    faults = [f"{len(names)} tensors {fault} ({_some(names)})" for fault, names in found if names]
    if faults:
        raise ModelError("; ".join(faults), where=where, remedy=_VERIFY)


def require_finite(tensors: Tensors, where: object) -> None:
    """Refuse infinities and what is no number: a network with one of them answers nothing else."""
    found = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if found:
        raise ModelError(f"{len(found)} tensors with values that are no numbers ({_some(found)})", where=where)


def _is_finite(tensor: torch.Tensor) -> bool:
    # The extremes of a tensor tell, as what is no number is passed on, in a fiftieth of the time of asking each value.
    if tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64) and tensor.numel():
        tensor = torch.stack(torch.aminmax(tensor))
    return bool(torch.isfinite(tensor).all())


def _refuse_odd_archives(path: Path) -> None:
    """torch.save compresses nothing; an archive that does may be a few kB that unpack to all of the memory. Nor does it
    name members outside of the archive, which torch would pass over and whoever unpacks it might not."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise ModelError("not a whole checkpoint of torch (damaged archive)", where=path, remedy=_VERIFY) from error
    compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if compressed or sum(member.file_size for member in members) > path.stat().st_size:
        raise ModelError("a compressed archive, which torch.save does not write", where=path, remedy=_VERIFY)
    if any(name.is_absolute() or ".." in name.parts for name in (PurePosixPath(m.filename) for m in members)):
        raise ModelError("an archive with a member that leads out of it", where=path, remedy=_VERIFY)


def _number(dtype: Any, data: Any = None) -> float | int | bool:
    """A NumPy scalar from its bytes, as a number of Python."""
    if not isinstance(dtype, np.dtype) or not isinstance(dtype, _PLAIN_DTYPES) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("a NumPy scalar that is no number")
    number: float | int | bool = np.frombuffer(data, dtype, count=1)[0].item()
    return number


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f", and {more} more" if more > 0 else "")


def _shape(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _kind(value: object) -> str:
    return f"{type(value).__name__}{' that is empty' if isinstance(value, Mapping) and not value else ''}"
