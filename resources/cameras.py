"""The cameras of a deployment: one YAML file for each, in the folder that SENTINEL_CAMERAS names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from sentinel_assets.vision.cameras import Camera, Cameras
from sentinel_assets.vision.errors import SentinelError

FOLDER = "SENTINEL_CAMERAS"


def cameras(environ: Mapping[str, str] | None = None) -> Cameras:
    """All cameras, by their files' names; none where the variable is not set.

    A folder is read once in a process: what a recipe names and what an asset works by are the same cameras.
    """
    folder = (os.environ if environ is None else environ).get(FOLDER)
    return _read(Path(folder).expanduser()) if folder else Cameras()


@cache
def _read(folder: Path) -> Cameras:
    """Raises SentinelError where the folder is none, or a file in it is not a camera."""
    if not folder.is_dir():
        raise SentinelError(f"{folder} is no folder", where=FOLDER, remedy="Name the folder of the cameras' YAML files")
    return Cameras(tuple(read_camera(path) for path in sorted(folder.glob("*.y*ml"))))


def read_camera(path: Path) -> Camera:
    """The camera of one file, called as the file is."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SentinelError(f"cannot be read: {error}", where=path) from error
    except yaml.YAMLError as error:
        raise SentinelError(f"not YAML: {error}", where=path) from error
    return Camera.from_mapping(path.stem, content, where=path)
