"""What a video of a backfill takes of hosts, in a job of its own and in one that serves many: `[--videos N]`.

Two deployments, each with a database and a queue of its own, analyse the same clips one by one, taking turns: in one
each video has a job, in the other they leave it to each other (SENTINEL_VIDEOS_PER_JOB). Jobs start
`python -m batch_step.worker` for real, on the stand-in for Batch in `infra/local`, with real models. Seconds are those
that the launcher tells of, without what a job waited for a video, which here is the other's turn. How long a host takes
to boot is not among them. See docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import boto3
import dagster as dg

from batch_step.cost import DEFAULT_PRICES, accounts_of_run
from resources.warehouse import Warehouse
from resources.weights import Catalogue
from sentinel_assets.sample import compose_sample
from sentinel_assets.vision.frames import probe
from tests.builders.deployment import BUCKET, Deployment
from tests.builders.faults import cut

WAYS = {"a job each": 1, "one job": 10_000}
PRICE = DEFAULT_PRICES["g5.xlarge/on-demand"]
BOOT_S = 180.0
"""Until a g5.xlarge has booted and pulled the image: taken for granted here, not measured."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.backfill", description=__doc__)
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--profile", default="permissive")
    parser.add_argument("--json", type=Path, metavar="FILE", help="seconds of each video, as JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        took, first_frames = measure(Path(folder), options.videos, options.profile)
    print(table(took))
    print("\nFrom the start of detections to the first frame looked at, median s:")
    for way, seconds in first_frames.items():
        further = f", of each further one {statistics.median(seconds[1:]):.2f}" if seconds[1:] else ""
        print(f"- {way}: of the first video {seconds[0]:.2f}{further}")
    if options.json:
        options.json.write_text(json.dumps(took, indent=2) + "\n")


def measure(folder: Path, videos: int, profile: str) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of hosts for each video in turn, by the way it was made, and seconds to its first frame."""
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    first_frames: dict[str, list[float]] = {way: [] for way in WAYS}
    catalogue, sample = Catalogue.load(), folder / "sample.mp4"
    compose_sample(*(catalogue.fetch(catalogue.model(name)) for name in ("photo-bus", "photo-zidane")), sample)
    with deployments(folder, profile) as found:
        for number in range(videos):
            clip = folder / f"clip-{number}.mp4"
            cut(sample, clip, seconds=2 + number % 20 / 10)
            for way, deployment in found.items():
                host_s, first_frame_s = analysed(deployment, clip)
                took[way].append(host_s)
                first_frames[way].append(first_frame_s)
                sys.stderr.write(f"\r{number + 1} of {videos} videos, {way}: {took[way][-1]:.1f} s   ")
    sys.stderr.write("\n")
    return took, first_frames


@contextmanager
def deployments(folder: Path, profile: str) -> Iterator[dict[str, Deployment]]:
    from infra.local.aws import LocalAws
    from infra.local.batch.settings import BatchSettings
    from infra.local.postgres import LocalPostgres

    with ExitStack() as stack:
        aws = stack.enter_context(LocalAws(BatchSettings(gpus=4)))
        stack.callback(os.environ.update, dict(os.environ))
        os.environ.update(aws.environment())
        where = {"LocationConstraint": aws.settings.region}
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
        server = stack.enter_context(LocalPostgres(folder / "postgres").session())
        found = {}
        for place, (way, per_job) in enumerate(WAYS.items()):
            server.create_database(f"way{place}")
            url = server.url(f"way{place}")
            with Warehouse(url) as warehouse:
                warehouse.migrate()
            made = Deployment.made(folder / f"way{place}", server, url, profile)
            deployment = stack.enter_context(made)
            deployment.send_gpu_steps_to_batch(str(deployment.home / "steps"), name=f"way{place}")
            deployment.on_batch = {**deployment.on_batch, "SENTINEL_VIDEOS_PER_JOB": str(per_job)}
            deployment.expect_a_run("redone")
            found[way] = deployment
        yield found


def analysed(deployment: Deployment, clip: Path) -> tuple[float, float]:
    """Seconds that its job worked on it, from its start or from the video before; and until its first frame."""
    partition = deployment.upload(clip, probe(clip))
    done = deployment.materialize_in_backfill(partition, "redone")
    assert done.returncode == 0, done.stderr
    with deployment.instance() as instance:
        (run,) = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": partition}))
        accounts = accounts_of_run(instance, run.run_id).values()
        (made,) = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey("detections"), asset_partitions=[partition]), limit=1
        ).records
        assert made.asset_materialization is not None
        first_frame_s = float(str(made.asset_materialization.metadata["seconds_to_first_frame"].value))
        return sum(one.host_s for one in accounts) - waited_for(instance, run.run_id), first_frame_s


def waited_for(instance: dg.DagsterInstance, run_id: str) -> float:
    """Seconds between the last step of the run that had the job before and the first of this one."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    told = [entry.dagster_event.engine_event_data for entry in entries if entry.dagster_event]
    first = next(one.metadata for one in told if "host_s" in one.metadata)
    return float(str(first["idle_s"].value)) if "idle_s" in first else 0.0


def table(took: dict[str, list[float]]) -> str:
    """For one video, for as many as were measured, and for more by what the later ones took."""
    lines = [
        "| videos | | a job each, s a video | one job | ratio | and the boot of one host, a job each | one job |",
        "| --- " * 7 + "|",
    ]
    measured = len(took["one job"])
    for n in sorted({1, min(20, measured), measured, 100}):
        each, one = (mean_of(seconds, n) for seconds in took.values())
        usd = [f"{BOOT_S / n + s:.1f} s, ${(BOOT_S / n + s) / 3600 * PRICE:.4f}" for s in (each, one)]
        by = "measured" if n <= measured else "by the formula"
        lines.append(f"| {n} | {by} | {each:.2f} | {one:.2f} | {each / one:.2f} | {' | '.join(usd)} |")
    return "\n".join(lines)


def mean_of(seconds: Sequence[float], videos: int) -> float:
    """Seconds a video; those that were not measured take what those after the first took."""
    first, *later = seconds
    further = statistics.fmean(later) if later else first
    return math.fsum([*seconds[:videos], *[further] * (videos - len(seconds))]) / videos


if __name__ == "__main__":
    main()
