"""The published models on a GPU, at full size with seeded weights: one item at a time, and batched; and decoding there.

`make bench-gpu` prints tables, with ARGS=--json the same as JSON. Each model runs in this one process, after the GPU's
own rate at multiplying matrices was measured, of which its share is told. Clips are decoded on the CPU and on the GPU,
in turns, and the frames compared to the last bit. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.footage import KINDS
from tests.bench.measure import Ratio
from tests.bench.models import CONVOLUTIONAL, ROUNDS, ours, work, written

if TYPE_CHECKING:
    from sentinel_assets.vision.containers import DecodeDevice
    from tests.bench.footage import Kind

BATCH = {"yolov8x-person-face": 16, "mivolo-d1": 64, "mebow": 64}
SIDE = 8192
"""Of the square matrices whose product is timed."""


def seconds(call: Callable[[], Any], finish: Callable[[], None]) -> float:
    """Median of some calls after a first one, each until the device is done."""
    call()
    taken = []
    for _ in range(ROUNDS):
        finish()
        began = time.perf_counter()
        call()
        finish()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def matmul_rate(device: str, finish: Callable[[], None], side: int = SIDE) -> float:
    """Operations a second: two for each product that is added."""
    import torch

    number = torch.float16 if device == "cuda" else torch.float32
    one = torch.rand(side, side, device=device, dtype=number)
    return float(2 * side**3 / seconds(lambda: one @ one, finish))


def operations(call: Callable[[], Any]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def busy(call: Callable[[], Any], finish: Callable[[], None]) -> float:
    """Share of the time in which a kernel runs."""
    from torch.profiler import ProfilerActivity, profile

    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        call()
        finish()
    wall = time.perf_counter() - began
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / wall


def row(name: str, folder: Path, device: str, rate: float, finish: Callable[[], None]) -> dict[str, Any]:
    import torch

    on_gpu = device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    model, count = ours(name, written(name, folder)), BATCH[name] if on_gpu else 2
    single, batch = work(name, model, 1), work(name, model, count)
    slow, fast = seconds(single, finish), seconds(batch, finish) / count
    each = operations(single)
    return {
        "model": name,
        "one_by_one_per_s": round(1 / slow, 1),
        "batch": count,
        "batched_per_s": round(1 / fast, 1),
        "ratio": round(slow / fast, 2),
        "gflop": round(each / 1e9, 1),
        "share_of_matmul_rate": round(each / fast / rate, 3),
        "busy": round(busy(batch, finish), 2) if on_gpu else None,
        "peak_mb": round(torch.cuda.max_memory_allocated() / 2**20) if on_gpu else None,
    }


def decoding(kind: Kind, folder: Path, device: DecodeDevice, length_s: int) -> dict[str, Any]:
    """One frame a second of a clip: CPU and wall seconds of decoding on the CPU over those of decoding on the device,
    and in how many samples the pictures differ."""
    import numpy as np

    from sentinel_assets.vision.containers import DecodeWork
    from sentinel_assets.vision.frames import sample_frames

    clip, work = kind.make(folder, length_s), DecodeWork()
    taken: dict[str, list[tuple[float, float]]] = {"cpu": [], device: []}
    for _ in range(ROUNDS):
        for name in ("cpu", device):
            cpu, wall = time.process_time(), time.perf_counter()
            for _frame in sample_frames(clip, device=name, work=work):
                pass
            taken[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    both = zip(sample_frames(clip), sample_frames(clip, device=device), strict=True)
    wrong = sum(a.time_s != b.time_s or not np.array_equal(a.image, b.image) for a, b in both)
    cpu, wall = (
        str(Ratio.of([one[part] for one in taken["cpu"]], [one[part] for one in taken[device]])) for part in (0, 1)
    )
    return {"clip": kind.name, "decoded_on": work.device, "cpu": cpu, "wall": wall, "samples_that_differ": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to see that the script works")
    parser.add_argument("--models", nargs="+", choices=CONVOLUTIONAL, default=CONVOLUTIONAL)
    given = parser.parse_args()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        print("bench-gpu: torch finds no CUDA GPU on this machine; run it where there is one", file=sys.stderr)
        return 1

    def finish() -> None:
        if given.device == "cuda":
            torch.cuda.synchronize()

    rate = matmul_rate(given.device, finish, SIDE if given.device == "cuda" else 1024)
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        rows = [row(name, Path(folder), given.device, rate, finish) for name in given.models]
        seconds_long = 50 if given.device == "cuda" else 6
        clips = [decoding(KINDS[place], Path(folder), given.device, seconds_long) for place in (0, 3)]
    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    if given.json:
        print(
            json.dumps(
                {"device": name, "matmul_tflops": round(rate / 1e12, 2), "models": rows, "decoding": clips}, indent=1
            )
        )
        return 0
    print(f"{name}: {rate / 1e12:.2f} TFLOP/s at multiplying matrices\n")
    for table in (rows, clips):
        print("| " + " | ".join(table[0]) + " |")
        print("|" + " --- |" * len(table[0]))
        for one in table:
            print("| " + " | ".join(map(str, one.values())) + " |")
        print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
