"""The folder of cameras: read, an input of behaviors, and wrong in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from resources.cameras import cameras
from sentinel_assets.filming import filming_digests
from sentinel_assets.fleet import Fleet
from sentinel_assets.freshness import DEPENDENCIES, digests, inputs_now
from sentinel_assets.recipes import Version
from sentinel_assets.vision.cameras import Cameras
from sentinel_assets.vision.errors import SentinelError

AISLE = """
videos: ["aisle-*"]
frame: [640, 480]
zones:
  - {name: drinks, kind: shelf, polygon: [[0, 0], [100, 0], [100, 100]]}
"""


def read(folder: Path) -> Cameras:
    return cameras({"SENTINEL_CAMERAS": str(folder)})


def test_each_file_is_a_camera_called_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "aisle.yaml").write_text(AISLE)
    (tmp_path / "door.yml").write_text(AISLE.replace("aisle", "door"))
    found = read(tmp_path)
    assert [camera.name for camera in found.cameras] == ["aisle", "door"]
    assert (camera := found.of_video("door-1.mp4", "/clips/door-1.mp4"))
    assert camera.name == "door"
    assert found.of_video("garden.mp4", "/clips/garden.mp4") is None
    assert cameras({}).cameras == ()


def test_a_video_that_two_cameras_claim_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(AISLE)
    (tmp_path / "b.yaml").write_text(AISLE)
    with pytest.raises(SentinelError, match="claimed by the cameras a and b"):
        read(tmp_path).of_video("aisle-1.mp4", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("videos: [", "not YAML"),
        ("- 1", "expected keys and values"),
        ("frame: 3", "frame is 3"),
        (AISLE + "sampling: {mode: sometimes}", "mode 'sometimes'"),
        (AISLE + "sampling: {rate: 5}", "an entry 'rate' that means nothing"),
        (AISLE + "sampling: {rate_hz: 0}", "rate_hz 0, expected a number above 0 and at most 30"),
        (AISLE + "sampling: {rate_hz: .nan}", "rate_hz nan"),
        (AISLE + "sampling: {person_hz: fast}", "person_hz 'fast'"),
        (AISLE + "sampling: {mode: fixed, person_hz: 5}", "sampling is fixed, and has person_hz"),
        (AISLE + "sampling: {person_hz: 5}", "sampling does not say mode: adaptive, and has person_hz"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "aisle.yaml").write_text(text)
    with pytest.raises(SentinelError, match=says) as caught:
        read(tmp_path)
    assert "aisle.yaml" in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SentinelError, match="is no folder"):
        read(tmp_path / "nowhere")


def test_a_changed_zone_makes_the_behaviors_of_that_cameras_videos_stale_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the detections and poses, nor anything of another camera's videos, nor of videos that no camera filmed."""
    names = {"1": "aisle-1.mp4", "2": "door-1.mp4", "3": "garden.mp4"}
    current = digests()

    def state() -> dict[str, dict[str, str]]:
        return filming_digests({partition: (name, f"/clips/{name}") for partition, name in names.items()})

    def stale(versions: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
        found = Fleet.compare(list(names), {**versions, **state()}, current)
        return {partition: [a for a in DEPENDENCIES if partition in found.stale[a]] for partition in names}

    monkeypatch.setenv("SENTINEL_CAMERAS", str(written(tmp_path / "before", AISLE)))
    made: dict[str, dict[str, str]] = {"video": dict.fromkeys(names, "sha256:aa"), **state()}
    for asset in DEPENDENCIES:
        made[asset] = {}
        for partition in names:
            own = {name: versions.get(partition) for name, versions in made.items()}
            made[asset][partition] = str(Version(current[asset], "c", inputs_now(asset, own)))
    assert stale(made) == {partition: [] for partition in names}

    renamed = AISLE.replace("aisle-*", "aisle-?.mp4")  # the same camera, found otherwise
    assert renamed != AISLE
    monkeypatch.setenv("SENTINEL_CAMERAS", str(written(tmp_path / "renamed", renamed)))
    assert stale(made) == {partition: [] for partition in names}

    moved = AISLE.replace("[100, 100]", "[100, 120]")
    assert moved != AISLE
    monkeypatch.setenv("SENTINEL_CAMERAS", str(written(tmp_path / "moved", moved)))
    assert stale(made) == {"1": ["behaviors", "descriptions", "embeddings", "events"], "2": [], "3": []}

    closer = AISLE + "sampling: {mode: adaptive}"
    monkeypatch.setenv("SENTINEL_CAMERAS", str(written(tmp_path / "closer", closer)))
    assert stale(made) == {"1": list(DEPENDENCIES), "2": [], "3": []}


def written(folder: Path, aisle: str) -> Path:
    folder.mkdir()
    (folder / "aisle.yaml").write_text(aisle)
    (folder / "door.yaml").write_text(AISLE.replace("aisle-*", "door-*").replace("aisle-?.mp4", "door-*"))
    return folder
