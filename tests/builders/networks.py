"""Small networks of the published kinds with seeded weights, in the published file structures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sentinel_assets.vision.models.hrnet import HrnetSize, OrientedHrnet
from sentinel_assets.vision.models.mivolo_network import VoloSize, mivolo_network

HRNET = {"width": 4, "stem": 8, "modules": (1, 1, 2), "blocks": 1, "orientation": (8, 12, 16)}
VOLO = {"side": 32, "layers": (1, 1, 1, 1), "dims": (12, 24, 24, 24), "heads": (2, 2, 2, 2), "stem": 8}
SMALL_HRNET, SMALL_VOLO = HrnetSize(**HRNET), VoloSize(**VOLO)  # type: ignore[arg-type]
AGES = {"min_age": 1, "max_age": 95, "avg_age": 48.0}


def seeded(network: torch.nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict in which every tensor matters: weights as large as keep a signal's size, norms near 1, no zeros."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in network.state_dict().items():
        drawn = torch.rand(tensor.shape, generator=generator) * 2 - 1
        if not tensor.is_floating_point():
            drawn = torch.full(tensor.shape, 1000, dtype=tensor.dtype)
        elif name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
            drawn = 1 + 0.2 * drawn
        elif tensor.ndim > 1:
            drawn = drawn * (6 / max(1, tensor[0].numel())) ** 0.5
        else:
            drawn = 0.1 * drawn
        state[name] = drawn
    return state


def mebow_state(seed: int = 0) -> dict[str, torch.Tensor]:
    return seeded(OrientedHrnet(SMALL_HRNET), seed)


def mivolo_content(seed: int = 0, *, with_bodies: bool = True, outputs: int = 3, **changes: Any) -> dict[str, Any]:
    """What `model_imdb_cross_person_*.pth.tar` holds; `changes` replace top-level entries, None takes one out."""
    state = seeded(mivolo_network(SMALL_VOLO, with_bodies=with_bodies, outputs=outputs), seed)
    content = {"epoch": 1, "state_dict": state, "no_gender": outputs == 1, "with_persons_model": with_bodies, **AGES}
    return {key: value for key, value in {**content, **changes}.items() if value is not None}


def write_mebow(path: Path, seed: int = 0) -> Path:
    torch.save(mebow_state(seed), path)
    return path


def write_mivolo(path: Path, seed: int = 0, **changes: Any) -> Path:
    torch.save(mivolo_content(seed, **changes), path)
    return path


def write_person_face(
    path: Path, names: Mapping[int, str] | None = None, seed: int = 0, *, architecture: str = "yolov8n.yaml"
) -> Path:
    """The file of a `person_face` checkpoint."""
    torch.save(person_face(names, seed, architecture=architecture), path)
    return path


def person_face(
    names: Mapping[int, str] | None = None, seed: int = 0, *, architecture: str = "yolov8n.yaml"
) -> dict[str, Any]:
    """A small YOLOv8 of two classes in the structure of `yolov8x_person_face.pt`; it sees people in many places."""
    from sentinel_assets.vision.models import ultralytics_loader  # noqa: F401, I001 - its switches come before ultralytics
    from ultralytics.nn.tasks import DetectionModel

    network = DetectionModel(architecture, ch=3, nc=len(names or "pf"), verbose=False)
    state = seeded(network, seed)
    for name, tensor in network.state_dict().items():
        if ".dfl." in name:
            state[name] = tensor
        elif ".cv3." in name and name.endswith(".2.bias"):
            state[name] = torch.full_like(tensor, -3.0)
        elif ".cv3." in name and name.endswith(".2.weight"):
            state[name] = 20 * state[name]  # else all places look alike
    network.load_state_dict(state)
    network.names = dict(names or {0: "person", 1: "face"})
    network.requires_grad_(False)
    arguments = {"task": "detect", "imgsz": 1280, "single_cls": False}
    return {"epoch": -1, "model": network.half(), "ema": None, "train_args": arguments, "version": "8.0.134"}
