"""YOLO11n-pose on real photos, and that its weights are loaded by known classes only."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.yolo_pose import YoloPose
from sentinel_assets.vision.orientation import in_words, orientation_of
from sentinel_assets.vision.protocols import Image

Weights = Callable[[str], Path]


@pytest.fixture(scope="module")
def yolo(weights: Weights) -> YoloPose:
    return YoloPose(weights("yolo11n-pose"))


@pytest.fixture(scope="module")
def two_men(weights: Weights) -> Image:
    return np.ascontiguousarray(cv2.imread(str(weights("photo-zidane")))[..., ::-1])


@pytest.fixture(scope="module")
def street(weights: Weights) -> Image:
    return np.ascontiguousarray(cv2.imread(str(weights("photo-bus")))[..., ::-1])


def test_the_two_men_are_found_and_face_where_they_look(yolo: YoloPose, two_men: Image) -> None:
    (poses,) = yolo.estimate([two_men])
    left, right = sorted(poses, key=lambda pose: float(pose.keypoints[0, 0]))
    facing = [orientation_of(pose.keypoints) for pose in (left, right)]
    assert [in_words(direction.degrees) for direction in facing if direction] == [
        "facing the camera, turned right",
        "facing the camera",
    ]


def test_what_is_found_does_not_depend_on_the_rest_of_the_batch(yolo: YoloPose, two_men: Image, street: Image) -> None:
    (alone,) = yolo.estimate([street])
    together = yolo.estimate([two_men, street])[1]
    assert len(alone) == len(together) >= 2
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one.keypoints - other.keypoints).max() < 0.1


def test_images_are_taken_as_red_green_blue(yolo: YoloPose, two_men: Image) -> None:
    """The men's faces lose confidence when red and blue are exchanged."""
    (right,), (exchanged,) = yolo.estimate([two_men]), yolo.estimate([two_men[..., ::-1]])
    assert sum(p.confidence for p in right) != pytest.approx(sum(p.confidence for p in exchanged), abs=1e-3)
    bgr = yolo._yolo.predict(np.ascontiguousarray(two_men[..., ::-1]), imgsz=320, conf=0.2, rect=False, verbose=False)
    assert [p.confidence for p in right] == pytest.approx(bgr[0].boxes.conf.tolist(), abs=1e-4)


def test_no_images_give_no_answers(yolo: YoloPose) -> None:
    assert yolo.estimate([]) == []


def test_an_empty_picture_holds_nobody(yolo: YoloPose) -> None:
    assert yolo.estimate([np.full((200, 100, 3), 120, np.uint8)]) == [[]]


def test_what_is_not_an_rgb_image_is_refused(yolo: YoloPose) -> None:
    with pytest.raises(ValueError, match="uint8"):
        yolo.estimate([np.zeros((10, 10), np.uint8)])


def test_a_detector_without_poses_is_refused(weights: Weights) -> None:
    with pytest.raises(ModelError, match="YOLO for detect"):
        YoloPose(weights("yolov8n"))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "damaged.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged\.pt"):
        YoloPose(tmp_path / "damaged.pt")


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.pt"):
        YoloPose(tmp_path / "gone.pt")


class _Intruder:
    """Would touch a file when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though somebody imported ultralytics with its switch off."""
    import torch

    monkeypatch.setattr("ultralytics.nn.tasks.SAFE_LOAD", False)

    mark, weights = tmp_path / "ran", tmp_path / "intruder.pt"
    torch.save({"model": _Intruder(mark)}, weights)
    pickle.loads(pickle.dumps(_Intruder(mark)))  # noqa: S301 - shows that the file would do it
    assert mark.exists()
    mark.unlink()
    with pytest.raises(ModelError, match=r"intruder\.pt"):
        YoloPose(weights)
    assert not mark.exists()
