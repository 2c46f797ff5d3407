"""A run decodes its video once: demographics and poses look at the frames that detections kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.artifacts import ArtifactStore
from resources.footage import FootageStore, describe_file
from resources.settings import Settings
from resources.warehouse import Warehouse
from sentinel_assets.definitions import definitions
from sentinel_assets.vision import decoding
from sentinel_assets.vision.gop import AtRate, AtTimes, SamplingRule
from sentinel_assets.vision.held_frames import HELD

STAGES = ("detections", "demographics", "poses")


@pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run:DeprecationWarning")  # by Dagster itself
@pytest.mark.parametrize(("megabytes", "passes"), [("256", 0), ("0", 4)])
def test_a_run_decodes_its_video_once(
    people: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: str, passes: int
) -> None:
    """Without room for frames demographics, poses and the pictures of two stages each decode it again."""
    HELD.forget()
    monkeypatch.setattr(HELD, "bound_bytes", HELD.bound_bytes)  # the run sets it for the whole process
    environment = {
        "SENTINEL_HOME": str(tmp_path),
        "DATABASE_URL": database_url,
        "SENTINEL_PROFILE": "permissive",
        "SENTINEL_HELD_FRAMES_MB": megabytes,
        "SENTINEL_DECODE_DEVICE": "cuda",  # here most likely a CPU in its place, of which the page tells
        "SENTINEL_WEIGHTS": str(Settings.from_env().weights),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_env()
    footage = describe_file(people)
    with Warehouse(database_url) as warehouse:
        key = warehouse.register_video(footage.uri, name=footage.name, etag=footage.etag).partition_key
    FootageStore(ArtifactStore(settings.artifacts)).register(key, footage)

    passes_made: list[SamplingRule] = []
    chosen_frames = decoding.chosen_frames

    def counted(path: Path, rule: Callable[[Fraction], SamplingRule], **more: Any) -> Iterator[decoding.ChosenFrame]:
        passes_made.append(rule(Fraction(1, 1000)))
        return chosen_frames(path, rule, **more)

    monkeypatch.setattr(decoding, "chosen_frames", counted)
    with dg.DagsterInstance.local_temp() as instance:
        instance.add_dynamic_partitions("videos", [key])
        job = definitions(settings).resolve_implicit_global_asset_job_def()
        done = job.execute_in_process(
            instance=instance, partition_key=key, asset_selection=[dg.AssetKey(name) for name in STAGES]
        )
    assert done.success
    assert sum(isinstance(rule, AtRate) for rule in passes_made) == 1
    more_than_the_first_frame = [r for r in passes_made if isinstance(r, AtTimes) and len(r._times_s) > 1]
    assert len(more_than_the_first_frame) == passes
    (detections,) = [m for m in done.get_asset_materialization_events() if m.asset_key == dg.AssetKey("detections")]
    possible = {"cpu", "cuda"} if Path("/dev/nvidia0").exists() else {"cpu"}
    assert detections.materialization.metadata["decoded_on"].value in possible
