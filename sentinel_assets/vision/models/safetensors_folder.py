"""A folder with a model of transformers, looked through before anything of it runs: its configuration, its tensors.

Only data is read from it: JSON, text, and safetensors. Weights that are pickles, and configurations that name Python
code to run, are refused.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentinel_assets.vision.errors import ModelError

if TYPE_CHECKING:
    import torch

PULL = "It was not loaded; run `sentinel models pull`"

_INDEX = "model.safetensors.index.json"
_CONFIGURATIONS = ("*config.json", "preprocessor_config.json", "chat_template.json")
_LARGEST_HEADER = 100_000_000
"""Bytes; what the safetensors format allows (https://github.com/huggingface/safetensors, "Format")."""


@dataclass(frozen=True)
class SafetensorsFolder:
    """`config` is config.json as it stands, `shards` the files of weights."""

    path: Path
    config: dict[str, Any]
    shards: tuple[Path, ...]

    @classmethod
    def open(cls, path: Path, *, model_types: Sequence[str] = (), files: Sequence[str] = ()) -> SafetensorsFolder:
        """Look through the folder. `model_types`: which are taken (none: any); `files` must be there besides.

        Raises ModelError, saying which file and why: a folder or file that is absent, pickles in the place of
        safetensors, code to run, a model of another kind, weights that are not whole.
        """
        if not path.is_dir():
            raise ModelError("there is no such folder", where=path, remedy="Run `sentinel models pull`")
        config = _json(path / "config.json")
        for pattern in _CONFIGURATIONS:
            for file in sorted(path.glob(pattern)):
                _refuse_code(file, _json(file))
        kind = config.get("model_type")
        if model_types and kind not in model_types:
            raise ModelError(f"a model of type {kind!r}, expected {' or '.join(model_types)}", where=path)
        shards = _shards(path)
        for shard in shards:
            _require_whole(shard)
        for name in files:
            if not (path / name).is_file():
                raise ModelError(f"{name} is missing", where=path, remedy=PULL)
        return cls(path, config, shards)

    def tensors(self, device: str = "cpu") -> dict[str, torch.Tensor]:
        """All tensors by name, mapped from the files."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        tensors: dict[str, torch.Tensor] = {}
        for shard in self.shards:
            try:
                part = load_file(shard, device=device)
            except SafetensorError as error:
                raise ModelError(f"not a file of safetensors: {error}", where=shard, remedy=PULL) from error
            if both := sorted(tensors.keys() & part.keys()):
                raise ModelError(f"{both[0]} is in two files", where=shard, remedy=PULL)
            tensors.update(part)
        return tensors


def _shards(path: Path) -> tuple[Path, ...]:
    single, index = path / "model.safetensors", path / _INDEX
    if single.is_file():
        return (single,)
    if index.is_file():
        named = _json(index).get("weight_map")
        names = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
        if not names or any(Path(name).name != name for name in names):
            raise ModelError("its weight_map does not name files of this folder", where=index, remedy=PULL)
        if missing := [name for name in names if not (path / name).is_file()]:
            raise ModelError(f"{missing[0]} is missing", where=path, remedy=PULL)
        return tuple(path / name for name in names)
    pickles = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in path.glob(pattern))
    if pickles:
        raise ModelError(
            f"its weights are a pickle ({pickles[0]}), which is a program; only safetensors are loaded",
            where=path,
            remedy="Convert them to model.safetensors where that is safe",
        )
    raise ModelError("model.safetensors is missing", where=path, remedy=PULL)


def _require_whole(shard: Path) -> None:
    """A file of safetensors says in its header where the last tensor ends: that is where the file has to end."""
    size = shard.stat().st_size
    try:
        with shard.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise ValueError("its header is cut short")
            header = json.loads(file.read(length))
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (struct.error, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ModelError(f"not a whole file of safetensors ({error})", where=shard, remedy=PULL) from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ModelError(f"has {size} bytes, its header says {expected}", where=shard, remedy=PULL)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path.name} is missing", where=path.parent, remedy=PULL) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot be read as JSON ({type(error).__name__})", where=path, remedy=PULL) from error
    if not isinstance(value, dict):
        raise ModelError("not a JSON object", where=path, remedy=PULL)
    return value


def _refuse_code(file: Path, value: object) -> None:
    """`auto_map`, at any depth, is how a configuration names Python files of its own, for transformers to run."""
    if isinstance(value, dict):
        if value.get("auto_map"):
            raise ModelError(
                "names Python code of its own to run (auto_map), which is not done",
                where=file,
                remedy="Choose a model that transformers knows by itself",
            )
        for part in value.values():
            _refuse_code(file, part)
    elif isinstance(value, list):
        for part in value:
            _refuse_code(file, part)
