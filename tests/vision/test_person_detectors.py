"""YOLO, and its union with MoveNet, on the photos and clips whose people anybody can count."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.movenet import MoveNetDetector
from sentinel_assets.vision.models.union import UnionDetector, unite
from sentinel_assets.vision.models.yolo import YoloPersonDetector
from sentinel_assets.vision.protocols import Boxes, Image
from tests.builders.photos import photo

Weights = Callable[[str], Path]


@pytest.fixture(scope="module")
def yolo(weights: Weights) -> YoloPersonDetector:
    return YoloPersonDetector(weights("yolov8n"))


@pytest.fixture(scope="module")
def union(weights: Weights, yolo: YoloPersonDetector) -> UnionDetector:
    return UnionDetector([yolo, MoveNetDetector(weights("movenet"))])


@pytest.mark.parametrize(
    ("name", "people"),
    [
        pytest.param("photo-bus", 4, id="three whole people, and one cut off by the left edge"),
        pytest.param("photo-zidane", 2, id="two men close up"),
    ],
)
def test_the_people_of_a_photo_are_counted(
    weights: Weights, yolo: YoloPersonDetector, union: UnionDetector, name: str, people: int
) -> None:
    image = photo(weights(name))
    assert len(yolo.detect([image])[0]) == people
    assert len(union.detect([image])[0]) == people


def test_an_image_does_not_depend_on_the_others_of_its_batch(weights: Weights, yolo: YoloPersonDetector) -> None:
    bus, zidane = photo(weights("photo-bus")), photo(weights("photo-zidane"))
    alone = [yolo.detect([image])[0] for image in (bus, zidane, bus)]
    together = yolo.detect([bus, zidane, bus])
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.xyxy, other.xyxy, atol=0.05)
        np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-3)


def test_the_same_image_gives_the_same_boxes(weights: Weights, yolo: YoloPersonDetector) -> None:
    image = photo(weights("photo-bus"))
    np.testing.assert_array_equal(yolo.detect([image])[0].xyxy, yolo.detect([image])[0].xyxy)


def test_colours_are_taken_as_red_green_blue(weights: Weights, yolo: YoloPersonDetector) -> None:
    image = photo(weights("photo-bus"))
    right, swapped = yolo.detect([image])[0], yolo.detect([np.ascontiguousarray(image[..., ::-1])])[0]
    assert right.confidence[:3].sum() > swapped.confidence[:3].sum()


def test_a_grey_picture_shows_nobody(union: UnionDetector) -> None:
    assert len(union.detect([np.full((90, 160, 3), 114, np.uint8)])[0]) == 0


def test_no_images_give_no_boxes(yolo: YoloPersonDetector) -> None:
    assert yolo.detect([]) == []


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((10, 10), np.uint8), id="grey"),
        pytest.param(np.zeros((10, 10, 3), np.float32), id="floats"),
        pytest.param(np.zeros((0, 10, 3), np.uint8), id="empty"),
    ],
)
def test_what_is_no_rgb_image_is_refused(yolo: YoloPersonDetector, image: Image) -> None:
    with pytest.raises(ValueError, match="uint8"):
        yolo.detect([image])


def test_torch_keeps_its_threads(weights: Weights) -> None:
    """Left alone, ultralytics takes one away from the whole process, of two cores the second."""
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            YoloPersonDetector(weights("yolov8n")).detect([np.zeros((64, 64, 3), np.uint8)])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_weights_of_another_task_are_refused(weights: Weights) -> None:
    with pytest.raises(ModelError, match="pose"):
        YoloPersonDetector(weights("yolo11n-pose"))


def test_ultralytics_writes_nothing_at_home_asks_no_host_installs_no_package_and_needs_no_torchvision(
    weights: Weights, tmp_path: Path
) -> None:
    """In a process of its own, with an audit hook on every socket. What torchvision, which costs 2 s to import, would
    suppress is suppressed without it."""
    code = """
import sys
import numpy as np
from pathlib import Path
from tests.builders.photos import photo
seen = []
def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect", "urllib.Request"):
        seen.append((event, arguments))
sys.addaudithook(watch)
from sentinel_assets.vision.models.yolo import YoloPersonDetector
detector, bus = YoloPersonDetector(Path(sys.argv[1]), confidence=0.02), photo(Path(sys.argv[2]))
alone = detector.detect([bus])[0]
assert not seen, seen
assert "torchvision" not in sys.modules
import torchvision
beside = detector.detect([bus])[0]
assert len(alone) > 4
assert np.array_equal(alone.xyxy, beside.xyxy)
from ultralytics import utils
assert (utils.ONLINE, utils.AUTOINSTALL, utils.SAFE_LOAD) == (False, False, True)
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO_", "ULTRALYTICS_", "XDG_"))}
    cache = {"HOME": str(home), "YOLO_CONFIG_DIR": str(tmp_path / "config"), "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    files = str(weights("yolov8n")), str(weights("photo-bus"))
    subprocess.run([sys.executable, "-c", code, *files], check=True, cwd=tmp_path, env={**environment, **cache})
    assert [path for path in home.rglob("*") if path.is_file()] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "home"]


def boxes(*xyxy: tuple[float, float, float, float], confidence: float = 0.5) -> Boxes:
    return Boxes(np.array(xyxy, np.float32).reshape(-1, 4), np.full(len(xyxy), confidence, np.float32))


@pytest.mark.parametrize(
    ("first", "second", "sources"),
    [
        pytest.param([(0, 0, 10, 30)], [(1, 0, 11, 31)], ["a+b"], id="both see one person"),
        pytest.param([(0, 0, 10, 30)], [(50, 0, 60, 30)], ["a", "b"], id="each sees another person"),
        pytest.param([(0, 0, 10, 30)], [(2, 0, 8, 10)], ["a+b"], id="the second sees a head only"),
        pytest.param([(0, 0, 10, 30), (12, 0, 22, 30)], [(0, 0, 22, 30)], ["a+b", "a"], id="the second joins two"),
        pytest.param([(0, 0, 10, 30), (1, 0, 11, 30)], [], ["a", "a"], id="what one model tells apart stays apart"),
        pytest.param([], [(0, 0, 10, 30)], ["b"], id="only the second sees anybody"),
        pytest.param([], [], [], id="nobody"),
        pytest.param([(0, 0, 0, 30)], [(0, 0, 10, 30)], ["a", "b"], id="a box without width is nobody's twin"),
    ],
)
def test_a_person_whom_two_models_see_is_one_person(
    first: list[tuple[float, float, float, float]], second: list[tuple[float, float, float, float]], sources: list[str]
) -> None:
    assert list(unite({"a": boxes(*first), "b": boxes(*second)}).source) == sources


corner = st.floats(0, 50, width=32)
some_boxes = st.lists(
    st.tuples(corner, corner, st.floats(1, 50, width=32), st.floats(1, 50, width=32)).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    max_size=5,
)


@given(some_boxes, some_boxes)
def test_a_union_keeps_all_of_the_first_and_invents_nobody(
    first: list[tuple[float, float, float, float]], second: list[tuple[float, float, float, float]]
) -> None:
    united = unite({"a": boxes(*first), "b": boxes(*second)})
    assert len(first) <= len(united) <= len(first) + len(second)
    np.testing.assert_array_equal(united.xyxy[: len(first)], boxes(*first).xyxy)


@given(some_boxes)
def test_a_model_united_with_its_own_answer_adds_nobody(first: list[tuple[float, float, float, float]]) -> None:
    assert len(unite({"a": boxes(*first), "b": boxes(*first)})) == len(first)


def test_a_union_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no detectors"):
        UnionDetector([])
