"""Folders for databases of tests."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - the folders in it get random names
_ENOUGH = 1 << 30  # B; a cluster takes 40 MB, a database 8 MB


def new_folder(prefix: str) -> Path:
    """A new, empty folder that every account can pass through, unlike pytest's; in memory where there is plenty."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if roomy else None))
    folder.chmod(0o755)
    return folder
