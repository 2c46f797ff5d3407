"""The published models at full size with seeded weights: start-up, time for one item, memory.

`make bench-models` prints a table, with ARGS=--json the same as JSON. Each model runs in a process of its own. Start-up
is measured in CPU seconds against the obvious way (construct the network, torch.load, load_state_dict), both with warm
file caches, after the same imports, on one thread; ours includes checking the copy's sha256. The language model's
start is measured twice: in the float32 that a CPU computes in, and in the bfloat16 of a GPU, short of copying it there.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROUNDS = 3
CONVOLUTIONAL = ("yolov8x-person-face", "mivolo-d1", "mebow")
MODELS = (*CONVOLUTIONAL, "fastvlm")
ON_A_GPU = "fastvlm, bfloat16"
"""What a GPU host loads in the place of `fastvlm`."""
BATCHES = (1, 8)
TOKENS = 16
"""Of each answer of the language model."""


def written(name: str, folder: Path) -> Path:
    """A full-size file of seeded weights in the published structure."""
    import torch

    from tests.builders.networks import AGES, seeded

    if name in ("fastvlm", ON_A_GPU):
        from tests.builders.vision_language import write_fastvlm

        return write_fastvlm(folder / "fastvlm")
    path = folder / {"mivolo-d1": "model.pth.tar", "mebow": "model_hboe.pth"}.get(name, "yolov8x_person_face.pt")
    if path.exists():
        return path
    if name == "mebow":
        from sentinel_assets.vision.models.hrnet import OrientedHrnet

        torch.save(seeded(OrientedHrnet()), path)
    elif name == "mivolo-d1":
        from sentinel_assets.vision.models.mivolo_network import VoloSize, mivolo_network

        torch.save({"state_dict": seeded(mivolo_network(VoloSize(), with_bodies=True, outputs=3)), **AGES}, path)
    else:
        from tests.builders.networks import write_person_face

        write_person_face(path, architecture="yolov8x.yaml")
    return path


def obvious(name: str, path: Path) -> Any:
    import torch

    if name in ("fastvlm", ON_A_GPU):
        from safetensors.torch import load_file
        from transformers import AutoTokenizer, FastVlmConfig, FastVlmForConditionalGeneration

        network: Any = FastVlmForConditionalGeneration(FastVlmConfig.from_pretrained(path))
        network.load_state_dict(load_file(path / "model.safetensors"), strict=False)  # the output layer is the input's
        network.tokenizer = AutoTokenizer.from_pretrained(path)
        return (network.bfloat16() if name == ON_A_GPU else network).eval()
    if name == "mebow":
        from sentinel_assets.vision.models.hrnet import OrientedHrnet

        network = OrientedHrnet()
        network.load_state_dict(torch.load(path, weights_only=True))
    elif name == "mivolo-d1":
        from sentinel_assets.vision.models.mivolo_network import VoloSize, mivolo_network

        network = mivolo_network(VoloSize(), with_bodies=True, outputs=3)
        network.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    else:
        from ultralytics.nn.tasks import DetectionModel

        network = DetectionModel("yolov8x.yaml", ch=3, nc=2, verbose=False)
        network.load_state_dict(torch.load(path, weights_only=False)["model"].state_dict())
    return network.eval()


def ours(name: str, path: Path) -> Any:
    if name in ("fastvlm", ON_A_GPU):
        from sentinel_assets.vision.models import language_devices
        from sentinel_assets.vision.models.fastvlm import FastVlm

        if name == ON_A_GPU:
            import torch

            language_devices.language_device = lambda _: (torch.device("cpu"), torch.bfloat16)
        return FastVlm(path, max_tokens=TOKENS)
    if name == "mebow":
        from sentinel_assets.vision.models.mebow import Mebow

        return Mebow(path)
    if name == "mivolo-d1":
        from sentinel_assets.vision.models.mivolo import Mivolo

        return Mivolo(path)
    from sentinel_assets.vision.models.person_face import PersonFaceDetector

    return PersonFaceDetector(path)


def work(name: str, model: Any, count: int) -> Callable[[], Any]:
    """One call for `count` items: frames of 1280x720, persons, crops."""
    import numpy as np

    from sentinel_assets.vision.protocols import BodyView, PersonCrop

    frame = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    if name == "mebow":
        views = [BodyView(frame, np.array([100 + i, 50, 300 + i, 650], np.float32)) for i in range(count)]
        return lambda: model.estimate_bodies(views)
    if name == "mivolo-d1":
        crops = [PersonCrop(frame[:224, i : i + 224], frame[300:524, i : i + 224]) for i in range(count)]
        return lambda: model.estimate_crops(crops)
    if name == "fastvlm":
        return lambda: model.answer([[frame]] * count, ["What happens here?"] * count)
    return lambda: model.detect_people([frame] * count)


def start(name: str, path: Path, way: str) -> float:
    """CPU seconds of one start, in this process, which must be a fresh one."""
    import torch

    torch.set_num_threads(1)
    import safetensors.torch  # noqa: F401 - what both ways import is not counted
    import timm.models.volo  # noqa: F401
    import ultralytics.nn.tasks  # noqa: F401
    from transformers import AutoTokenizer, FastVlmForConditionalGeneration  # noqa: F401

    import sentinel_assets.vision.models.fastvlm
    import sentinel_assets.vision.models.mebow
    import sentinel_assets.vision.models.mivolo
    import sentinel_assets.vision.models.person_face
    import sentinel_assets.vision.models.ultralytics_loader  # noqa: F401

    before = time.process_time()
    (ours if way == "ours" else obvious)(name, path)
    return time.process_time() - before


def measured(name: str, path: Path) -> dict[str, Any]:
    """Milliseconds for one item at each batch size, with all threads, and the peak memory of the process."""
    model = ours(name, path)
    times = {}
    for count in BATCHES:
        call = work(name, model, count)
        call()
        taken = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            call()
            taken.append((time.perf_counter() - began) / count)
        times[f"ms_at_{count}"] = round(statistics.median(taken) * 1000, 1)
    return {**times, "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


def in_a_process(*arguments: object) -> Any:
    command = [sys.executable, "-m", "tests.bench.models", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def row(name: str, folder: Path) -> dict[str, Any]:
    path = in_a_process("--write", name, folder)
    in_a_process("--start", name, path, "ours")  # converts
    starts: dict[str, list[float]] = {"obvious": [], "ours": []}
    for _ in range(ROUNDS):  # in turns, so that what else the machine does falls on both
        for way, seconds in starts.items():
            seconds.append(in_a_process("--start", name, path, way))
    slow, fast = (statistics.median(starts[way]) for way in ("obvious", "ours"))
    worked = {} if name == ON_A_GPU else in_a_process("--measure", name, path)
    return {"model": name, **startup(slow, fast), **worked}


def summed(title: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The start of several: that of a job which analyses a video."""
    slow, fast = (sum(one[f"{way}_cpu_s"] for one in rows) for way in ("obvious", "ours"))
    return {"model": title, **startup(slow, fast)}


def startup(slow: float, fast: float) -> dict[str, float]:
    return {"obvious_cpu_s": round(slow, 2), "ours_cpu_s": round(fast, 2), "ratio": round(slow / fast, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--start", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        print(json.dumps(str(written(given.write[0], Path(given.write[1])))))
    elif given.start:
        print(json.dumps(start(given.start[0], Path(given.start[1]), given.start[2])))
    elif given.measure:
        print(json.dumps(measured(given.measure[0], Path(given.measure[1]))))
    else:
        with tempfile.TemporaryDirectory(prefix="bench-models-") as folder:
            *convolutional, on_cpu, on_gpu = (row(name, Path(folder)) for name in (*MODELS, ON_A_GPU))
        rows = [*convolutional, on_cpu, on_gpu]
        rows += [summed("all", [*convolutional, on_cpu]), summed("all, with bfloat16", [*convolutional, on_gpu])]
        if given.json:
            print(json.dumps(rows, indent=1))
            return
        print("| " + " | ".join(rows[0]) + " |")
        print("|" + " --- |" * len(rows[0]))
        for one in rows:
            print("| " + " | ".join(str(one.get(column, "")) for column in rows[0]) + " |")


if __name__ == "__main__":
    main()
