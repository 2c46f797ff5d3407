"""The folder of cameras: read, part of the recipe, and wrong in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.cameras import cameras
from sentinel_assets.recipes import recipe
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
    ("text", "says"), [("videos: [", "not YAML"), ("- 1", "expected keys and values"), ("frame: 3", "frame is 3")]
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "aisle.yaml").write_text(text)
    with pytest.raises(SentinelError, match=says) as caught:
        read(tmp_path)
    assert "aisle.yaml" in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SentinelError, match="is no folder"):
        read(tmp_path / "nowhere")


def test_zones_are_part_of_the_recipe_of_behaviors_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed zone makes behaviors stale, and neither detections nor poses."""
    (tmp_path / "aisle.yaml").write_text(AISLE)
    names = ("detections", "poses", "behaviors")
    before = {name: recipe(name).digest for name in names}
    recipe.cache_clear()
    monkeypatch.setenv("SENTINEL_CAMERAS", str(tmp_path))
    try:
        after = {name: recipe(name).digest for name in names}
    finally:
        recipe.cache_clear()
    assert {name for name in names if before[name] != after[name]} == {"behaviors"}
