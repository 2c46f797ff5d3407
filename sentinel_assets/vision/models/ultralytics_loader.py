"""Loads a YOLO of ultralytics without what ultralytics does besides: network, installs, settings in the home folder.

Import this module before ultralytics: that reads its switches from the environment once, when it is imported.
A switch that the environment already has is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from sentinel_assets.vision.errors import ModelError

SWITCHES = {
    "ULTRALYTICS_SAFE_LOAD": "1",  # torch.load(weights_only=True) against a list of known classes
    "YOLO_OFFLINE": "1",  # no look-up of hosts, no reports of use
    "YOLO_AUTOINSTALL": "0",  # never runs pip
    "YOLO_VERBOSE": "0",  # no banner
    "YOLO_CONFIG_DIR": str(user_cache_path("sentinel")),  # settings.json goes to the cache, not to ~/.config
}
"""https://docs.ultralytics.com/usage/cfg, and `ultralytics.utils` of 8.4, which reads them."""


def _set_switches() -> None:
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)


_set_switches()


def load_yolo(weights: Path, *, task: str, classes: Sequence[str] = ("person",)) -> Any:
    """The `ultralytics.YOLO` in this file, for `task` ("detect" or "pose").

    `classes` must be among the names of its classes: a checkpoint without names gets class0, class1, ..., and would
    find nobody in silence. Its `predict` takes B, G, R images and keeps state: one thread at a time.

    Raises ModelError when the file is missing, is not a YOLO of that task, names none of these classes, or holds
    anything but known layers: it is unpickled with `weights_only=True`.
    """
    if not weights.is_file():
        raise ModelError("there is no such file of weights", where=weights, remedy="Run `sentinel models pull`")
    if weights.suffix != ".pt":
        raise ModelError(f"ultralytics knows its own weights by the suffix .pt, not {weights.suffix!r}", where=weights)
    _set_switches()  # again: who ran in between may have put the environment back
    import torch  # before ultralytics, which else leaves it a single thread (OMP_NUM_THREADS)
    from ultralytics.models import YOLO
    from ultralytics.nn import tasks
    from ultralytics.utils import torch_utils

    if not tasks._SafeLoad.SUPPORTED:
        raise ModelError("this torch cannot load it without running what is in it", where=weights, remedy="Update it")
    vars(tasks)["SAFE_LOAD"] = True  # whoever imported ultralytics before, and whatever the environment said then
    # The first prediction on a CPU sets torch, in the whole process, to a core less than there are: of two, to one.
    vars(torch_utils)["NUM_THREADS"] = torch.get_num_threads()
    try:
        yolo = YOLO(str(weights))
    except (TypeError, RuntimeError, EOFError, KeyError, AttributeError, ModuleNotFoundError) as error:
        raise ModelError(
            f"not a checkpoint that ultralytics can load safely ({type(error).__name__})",
            where=weights,
            remedy="Run `sentinel models verify`",
        ) from error
    if yolo.task != task:
        raise ModelError(f"is a YOLO for {yolo.task}, expected one for {task}", where=weights)
    missing = set(classes) - set(yolo.names.values())
    if missing:
        raise ModelError(f"knows no class {', '.join(sorted(missing))}", where=weights)
    yolo.add_callback("on_predict_start", _without_warm_up)
    return yolo


def _without_warm_up(predictor: Any) -> None:
    """On a CPU warming up does nothing but import torchvision, and with it all of torch.compile: 2 s of CPU time, for a
    suppression that ultralytics' own equals, box for box and at the same speed."""
    if predictor.device.type == "cpu":
        predictor.done_warmup = True
