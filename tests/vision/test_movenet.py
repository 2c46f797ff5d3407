"""MoveNet on real pictures: who is found, where, and that coordinates come back exactly."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.frames import frames_at, sample_frames
from sentinel_assets.vision.models.movenet import STRIDE, MoveNet, MoveNetDetector, _Letterbox, _tiles
from sentinel_assets.vision.orientation import in_words, orientation_of
from sentinel_assets.vision.protocols import Floats, Image, Pose

Weights = Callable[[str], Path]
MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
NOSE = 0


@pytest.fixture(scope="module")
def movenet(weights: Weights) -> MoveNet:
    return MoveNet(weights("movenet"), min_score=0.2)


@pytest.fixture(scope="module")
def two_men(weights: Weights) -> Image:
    """1280x720: one at the left who looks to the right, one at the right who faces the camera."""
    return _read(weights("photo-zidane"))


@pytest.fixture(scope="module")
def street(weights: Weights) -> Image:
    """810x1080: two men on a pavement who come towards the camera, people cut off at both sides."""
    return _read(weights("photo-bus"))


def _read(path: Path) -> Image:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def _nearest(poses: list[Pose], like: Pose) -> Pose:
    return min(poses, key=lambda p: float(np.abs(p.keypoints[:, :2] - like.keypoints[:, :2]).mean()))


def _clear(pose: Pose, score: float = 0.4) -> Floats:
    return pose.keypoints[:, 2] >= score


def test_the_two_men_are_found_with_their_noses_where_they_are(movenet: MoveNet, two_men: Image) -> None:
    (poses,) = movenet.estimate([two_men])
    noses = sorted(pose.keypoints[NOSE, :2].round().tolist() for pose in poses)
    assert len(noses) == 2
    assert noses[0] == pytest.approx([640, 360], abs=25)
    assert noses[1] == pytest.approx([995, 197], abs=25)


def test_men_who_come_towards_the_camera_face_it(movenet: MoveNet, street: Image) -> None:
    (poses,) = movenet.estimate([street])
    directions = [orientation_of(pose.keypoints) for pose in poses]
    words = [in_words(direction.degrees) for direction in directions if direction]
    assert words == ["facing the camera", "facing the camera"]


def test_black_at_the_right_and_below_changes_no_coordinate(movenet: MoveNet, two_men: Image) -> None:
    """The letterbox fills up with black there anyway: 720 rows become 144 of 160."""
    filled = np.zeros((800, 1280, 3), np.uint8)
    filled[:720] = two_men
    (plain,), (larger,) = movenet.estimate([two_men]), movenet.estimate([filled])
    for pose in plain:
        assert np.abs(_nearest(larger, pose).keypoints - pose.keypoints).max() < 1


@pytest.mark.parametrize("by", [(160, 0), (0, 160), (320, 160)])
def test_shifting_an_image_shifts_its_keypoints(movenet: MoveNet, two_men: Image, by: tuple[int, int]) -> None:
    """Shifted by whole steps of the network's stride (32 input pixels of 5 px), to less than one input pixel."""
    across, down = by
    still, moved = np.zeros((2, 1280, 1280, 3), np.uint8)
    small = cv2.resize(two_men, (960, 540), interpolation=cv2.INTER_AREA)
    still[:540, :960] = small
    moved[down : down + 540, across : across + 960] = small
    (before,), (after,) = movenet.estimate([still]), movenet.estimate([moved])
    for pose in before:
        difference = _nearest(_shifted(after, -across, -down), pose).keypoints - pose.keypoints
        assert np.abs(np.median(difference[_clear(pose), :2], axis=0)).max() < 5


def _shifted(poses: list[Pose], across: float, down: float) -> list[Pose]:
    return [Pose(p.keypoints + np.array([across, down, 0], np.float32), p.confidence) for p in poses]


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_scaling_an_image_scales_its_keypoints(movenet: MoveNet, two_men: Image, factor: float) -> None:
    scaled = cv2.resize(two_men, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA if factor < 1 else 1)
    (before,), (after,) = movenet.estimate([two_men]), movenet.estimate([scaled])
    unscaled = [Pose(p.keypoints / np.array([factor, factor, 1], np.float32), p.confidence) for p in after]
    for pose in before:
        difference = _nearest(unscaled, pose).keypoints - pose.keypoints
        # The input is 256 px wide: 5 px of the image are one of it.
        assert np.abs(difference[_clear(pose), :2]).mean() < 5


def test_mirroring_mirrors_about_the_middle_of_the_image(movenet: MoveNet, footage: Path) -> None:
    """To a third of an input pixel in the median; without OFFSET it is half of one in these frames."""
    offsets = []
    for clip in ("one-by-one-person-detection.mp4", "gmdcsa24/Subject_2_Fall_12.mp4", "gmdcsa24/Subject_3_ADL_19.mp4"):
        for frame in list(sample_frames(footage / clip, rate_hz=1))[::2][:8]:
            plain, turned = movenet.estimate([frame.image, np.ascontiguousarray(frame.image[:, ::-1])])
            if len(plain) == len(turned) == 1:
                back = turned[0].keypoints[MIRRORED].copy()
                back[:, 0] = frame.width - back[:, 0]
                input_pixels = (back - plain[0].keypoints)[:, 0] * 256 / frame.width
                offsets.append(input_pixels[_clear(plain[0])])
    assert len(offsets) >= 10
    assert abs(float(np.median(np.concatenate(offsets)))) < 0.35


@settings(deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([32, 192, 256]))
def test_an_input_has_sides_of_whole_strides_and_the_exact_scale(width: int, height: int, long_side: int) -> None:
    letterbox = _Letterbox.fit(np.full((height, width, 3), 255, np.uint8), long_side)
    rows, columns = letterbox.canvas.shape[:2]
    assert rows % STRIDE == 0
    assert columns % STRIDE == 0
    assert max(rows, columns) == long_side
    filled = letterbox.canvas[..., 0] == 255
    # White goes exactly as far as the scale says, and there is nothing else.
    assert filled[0].sum() == pytest.approx(letterbox.scale[0] * width, abs=1e-2)
    assert filled[:, 0].sum() == pytest.approx(letterbox.scale[1] * height, abs=1e-2)
    assert filled.sum() == filled[0].sum() * filled[:, 0].sum()


def test_threads_do_not_mix_their_images(movenet: MoveNet, two_men: Image, street: Image) -> None:
    images = [two_men, street, two_men[:, :640], street[300:]] * 3
    alone = movenet.estimate(images)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: movenet.estimate([image])[0], images))
    for one, other in zip(alone, together, strict=True):
        assert [p.confidence for p in one] == pytest.approx([p.confidence for p in other], abs=1e-4)


def test_an_empty_picture_holds_nobody(weights: Weights) -> None:
    grey = np.full((300, 500, 3), 120, np.uint8)
    detector = MoveNetDetector(weights("movenet"), tiles=(2, 1))
    (boxes,) = detector.detect([grey])
    assert len(boxes) == 0


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),  # grey
        np.zeros((10, 10, 4), np.uint8),  # with alpha
        np.zeros((10, 10, 3), np.float32),  # not bytes
        np.zeros((0, 10, 3), np.uint8),  # nothing
    ],
)
def test_what_is_not_an_rgb_image_is_refused(movenet: MoveNet, image: Image) -> None:
    with pytest.raises(ValueError, match="uint8"):
        movenet.estimate([image])


@pytest.mark.parametrize("long_side", [0, 16, 250])
def test_a_side_that_is_no_multiple_of_the_stride_is_refused(weights: Weights, long_side: int) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        MoveNet(weights("movenet"), long_side)


def test_missing_or_foreign_weights_are_refused_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.tflite"):
        MoveNet(tmp_path / "gone.tflite")
    (tmp_path / "text.tflite").write_text("not a model")
    with pytest.raises(ModelError, match=r"text\.tflite"):
        MoveNet(tmp_path / "text.tflite")


@settings(deadline=None)
@given(st.integers(8, 4000), st.integers(8, 4000), st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_tiles_cover_the_frame_and_overlap(width: int, height: int, grid: tuple[int, int]) -> None:
    tiles = list(_tiles(width, height, grid))
    assert len(tiles) == grid[0] * grid[1]
    assert min(t[0] for t in tiles) == min(t[1] for t in tiles) == 0
    assert max(t[2] for t in tiles) == width
    assert max(t[3] for t in tiles) == height
    assert all(x1 < x2 and y1 < y2 for x1, y1, x2, y2 in tiles)
    for left, right in pairwise(sorted({(t[0], t[2]) for t in tiles})):
        assert right[0] <= left[1]


def test_tiles_find_the_shoppers_at_the_side_of_an_aisle(weights: Weights, footage: Path) -> None:
    """Three people stand in it at 2.7 s; the whole frame at 256 px shows the model fewer of them."""
    (frame,) = frames_at(footage / "store-aisle-detection.gif", [_sample_near(footage, 2.7)])
    (whole,) = MoveNetDetector(weights("movenet")).detect([frame.image])
    (tiled,) = MoveNetDetector(weights("movenet"), tiles=(2, 1)).detect([frame.image])
    assert len(tiled) == 3
    assert len(tiled) > len(whole)
    assert (tiled.xyxy >= 0).all()
    assert (tiled.xyxy <= [frame.width, frame.height] * 2).all()


def _sample_near(footage: Path, time_s: float) -> float:
    times = [frame.time_s for frame in sample_frames(footage / "store-aisle-detection.gif", rate_hz=10)]
    return min(times, key=lambda t: abs(t - time_s))


def test_tiles_do_not_split_a_person_close_by(weights: Weights, footage: Path) -> None:
    detector = MoveNetDetector(weights("movenet"), tiles=(2, 1))
    found = [
        len(detector.detect([frame.image])[0])
        for frame in sample_frames(footage / "one-by-one-person-detection.mp4", rate_hz=0.1)
    ]
    assert max(found) == 1
    assert found.count(1) >= 8


@pytest.mark.parametrize("clip", ["Subject_1_Fall_13", "Subject_2_Fall_12", "Subject_4_Fall_03"])
def test_whoever_lies_on_the_floor_is_found(weights: Weights, footage: Path, clip: str) -> None:
    """In each of the last two seconds of the fall; YOLOv8n finds 57 % of lying people."""
    detector = MoveNetDetector(weights("movenet"))
    lying = [frame.image for frame in sample_frames(footage / "gmdcsa24" / f"{clip}.mp4", rate_hz=1)][-2:]
    for boxes in detector.detect(lying):
        widths, heights = (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).T
        assert (widths > heights).any()
