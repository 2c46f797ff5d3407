"""Models of several files: a folder in the cache, of which each file is fetched, hashed and locked as any other.

Such an entry of the catalogue has `files`. Its sources, and the names that it is published as, are folders; its sha256
is that of the list of its files' sha256, so that it stands for all of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel_assets.vision.errors import WeightsMismatch

if TYPE_CHECKING:
    from resources.model_entries import ModelEntry

ASIDE = ".mismatch"
"""At the end of the name of a file that was not what the catalogue says."""


def parts_of(entry: ModelEntry) -> list[ModelEntry]:
    """The files of a folder, as entries of their own: `<name>/<file>`."""
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", entry.version)
    return [
        entry.model_copy(
            update={
                "name": f"{entry.name}/{file}",
                "files": {},
                "folder": f"{entry.name}-{slug}",
                "sources": tuple(_within(source, file) for source in entry.sources),
                "published_as": tuple(f"{folder}/{file}" for folder in entry.published_as),
                "sha256": known.sha256,
                "size": known.size,
            }
        )
        for file, known in entry.files.items()
    ]


def digest_of(parts: Sequence[ModelEntry]) -> str:
    """One sha256 for a folder: of the lines `<sha256>  <file>` in the order of the names."""
    lines = sorted(f"{part.sha256}  {part.name.rpartition('/')[2]}\n" for part in parts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def require_nothing_else(folder: Path, files: Sequence[str]) -> None:
    """A file beyond those of the catalogue could change what the folder is loaded as. Raises WeightsMismatch."""
    surplus = sorted(path.name for path in folder.iterdir() if path.name not in files and path.suffix != ASIDE)
    if surplus:
        raise WeightsMismatch(
            f"{surplus[0]} is not a file of this model; it was not loaded",
            where=folder,
            remedy="Remove it, or name it in models.yaml",
        )


def _within(source: str, file: str) -> str:
    return f"{source}#{file}" if source.startswith("hf:") else f"{source.rstrip('/')}/{file}"
