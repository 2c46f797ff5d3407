"""The reference implementations' goldens: their scenes, and their seeded checkpoints in the published structure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel_assets.vision.protocols import Image, Scene
from tests.builders.photos import photo

PERSON, FACE = 0, 1


def made_checkpoint(oracle: Path, what: str, folder: Path) -> Path:
    """The full-size file that the oracle's own script makes and checks against its recorded digest."""
    command = [sys.executable, str(oracle / "make_ckpts.py"), what, "--dst", str(folder)]
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=300)
    return Path(done.stdout.strip().splitlines()[-1])


def boxes_of(oracle: Path, case: str) -> tuple[Image, NDArray[np.float64], NDArray[np.float64]]:
    """The picture (RGB) of a case such as scene720/A, its boxes (N, 4) px, and the class of each (N,). In double
    precision, as the reference had them: rounded to single, a warp moves by 1e-5 px, and some pixel by a grey level."""
    described = json.loads((oracle / "data" / "boxes.json").read_text())["cases"][case]
    found = np.array(described["dets"])
    return photo(oracle / "data" / f"{described['image']}.png"), found[:, :4], found[:, 5]


def scene_of(oracle: Path, case: str) -> tuple[Scene, dict[int, int], dict[int, int]]:
    """The case as a scene, and which detection of the case each of its persons and of its faces is."""
    image, boxes, kinds = boxes_of(oracle, case)
    persons, faces = np.flatnonzero(kinds == PERSON), np.flatnonzero(kinds == FACE)
    return Scene(image, boxes[persons], boxes[faces]), _numbered(persons), _numbered(faces)


def _numbered(places: Any) -> dict[int, int]:
    return {index: int(place) for index, place in enumerate(places)}
