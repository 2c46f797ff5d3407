"""Poses of tracked persons: whose skeleton it is, which model's, and where it lies in the frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sentinel_assets.vision.frames import frames_at, sample_frames
from sentinel_assets.vision.models.movenet import MoveNet, MoveNetDetector
from sentinel_assets.vision.models.yolo_pose import YoloPose
from sentinel_assets.vision.poses import PoseParameters, estimate_poses
from sentinel_assets.vision.protocols import Detector, Floats, Image, Pose
from sentinel_assets.vision.tables import DETECTIONS, POSES
from tests.builders.clips import write_clip

Weights = Callable[[str], Path]
Box = tuple[float, float, float, float]

KNEE_LEFT, KNEE_RIGHT = 13, 14

STANDING: Box = (300, 100, 400, 400)
BESIDE: Box = (410, 100, 510, 400)
LYING: Box = (200, 300, 500, 400)


def skeleton(box: Box, score: float = 0.8) -> Floats:
    """17 keypoints over the whole box."""
    x1, y1, x2, y2 = box
    down = np.linspace(0, 1, 17)
    across = np.tile([0.0, 1.0, 0.5], 6)[:17]
    keypoints = np.column_stack([x1 + across * (x2 - x1), y1 + down * (y2 - y1), np.full(17, score)])
    return keypoints.astype(np.float32)


@dataclass
class Knowing:
    """A pose model that gives the same skeletons (px of the frame) for whatever it sees. A frame's pixels tell it
    where the cut-out begins: see `position_coded`."""

    name: str
    skeletons: Sequence[Floats]
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def estimate(self, images: Sequence[Image]) -> list[list[Pose]]:
        self.sizes += [(image.shape[1], image.shape[0]) for image in images]
        return [[self._seen(skeleton, image) for skeleton in self.skeletons] for image in images]

    def _seen(self, frame_keypoints: Floats, image: Image) -> Pose:
        keypoints = frame_keypoints.copy()
        keypoints[:, :2] -= _corner(image)
        return Pose(keypoints, float(keypoints[:, 2].mean()))


def position_coded(number: int, width: int, height: int) -> Image:
    """A picture whose colours say where one is: red grows to the right, blue downwards."""
    del number
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(20, 235, width)[None, :].round()
    picture[..., 2] = np.linspace(20, 235, height)[:, None].round()
    return picture


def _corner(image: Image) -> Floats:
    """Where in the 640x480 frame this cut-out begins, to a few pixels: by its colours, fitted with straight lines."""
    red, blue = image[..., 0].mean(axis=0), image[..., 2].mean(axis=1)
    at_left = np.polyval(np.polyfit(np.arange(len(red)), red, 1), 0)
    at_top = np.polyval(np.polyfit(np.arange(len(blue)), blue, 1), 0)
    return np.array([(at_left - 20) / 215 * 639, (at_top - 20) / 215 * 479], np.float32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("poses") / "coded.avi"
    write_clip(
        path, frames=5, width=640, height=480, rate=1, codec="mjpeg", pixel_format="yuvj444p", picture=position_coded
    )
    return path


def detections(*persons: tuple[int, int | None, Box], kind: str = "person") -> pd.DataFrame:
    """A table of (sample, track, box); sample k is at k seconds."""
    return DETECTIONS.frame([_person(sample, track, box, kind) for sample, track, box in persons])


def _person(sample: int, track: int | None, box: Sequence[float], kind: str = "person", t: float | None = None) -> Any:
    x1, y1, x2, y2 = box
    return {
        "sample": sample,
        "time_s": float(sample) if t is None else t,
        "kind": kind,
        "track": track,
        **{"x1": x1, "y1": y1, "x2": x2, "y2": y2},
        "confidence": 0.9,
        "source": "test",
        "landmarks": None,
    }


def test_keypoints_come_back_in_pixels_of_the_frame(clip: Path) -> None:
    model = Knowing("one", [skeleton(STANDING)])
    table = estimate_poses(clip, detections((0, 1, STANDING)), pose_models=[model])
    POSES.conform(table)
    keypoints = np.reshape(table["keypoints"][0], (17, 3))
    assert np.abs(keypoints - skeleton(STANDING)).max() < 6  # what the colours tell is that exact
    assert table["source"].tolist() == ["one"]
    assert table["pose_confidence"][0] == pytest.approx(0.8)


def test_every_tracked_person_has_a_row_and_nobody_else(clip: Path) -> None:
    """Faces and persons without a track are left out; the order is that of sample and track."""
    table = pd.concat(
        [
            detections((3, 2, BESIDE), (3, 1, STANDING), (0, 1, STANDING), (4, None, STANDING)),
            detections((1, 1, STANDING), kind="face"),
        ]
    )
    rows = estimate_poses(clip, table, pose_models=[Knowing("one", [skeleton(STANDING), skeleton(BESIDE)])])
    assert rows[["sample", "time_s", "track"]].to_numpy().tolist() == [[0, 0, 1], [3, 3, 1], [3, 3, 2]]
    assert rows["keypoints"].notna().all()


def test_a_neighbour_in_the_cut_out_does_not_lend_a_skeleton(clip: Path) -> None:
    """Each gets the own one where both are seen; who is not seen gets none, not the neighbour's."""
    table = detections((0, 1, STANDING), (0, 2, BESIDE))
    both = estimate_poses(clip, table, pose_models=[Knowing("one", [skeleton(BESIDE), skeleton(STANDING)])])
    for row, box in zip(both.itertuples(), (STANDING, BESIDE), strict=True):
        assert np.abs(np.reshape(row.keypoints, (17, 3)) - skeleton(box)).max() < 6
    alone = estimate_poses(clip, table, pose_models=[Knowing("one", [skeleton(BESIDE)])])
    assert alone["keypoints"].notna().tolist() == [False, True]


def test_a_bystander_without_a_box_does_not_lend_a_skeleton(clip: Path) -> None:
    rows = estimate_poses(clip, detections((0, 1, STANDING)), pose_models=[Knowing("one", [skeleton(BESIDE)])])
    assert rows["keypoints"].tolist() == [None]


def test_boxes_that_overlap_do_not_exchange_their_skeletons(clip: Path) -> None:
    behind: Box = (340, 110, 440, 390)
    table = detections((0, 1, STANDING), (0, 2, behind))
    rows = estimate_poses(clip, table, pose_models=[Knowing("one", [skeleton(behind)])])
    assert rows["keypoints"].notna().tolist() == [False, True]


def test_who_is_not_found_has_an_empty_row(clip: Path) -> None:
    rows = estimate_poses(clip, detections((0, 1, STANDING)), pose_models=[Knowing("one", [])])
    (row,) = rows.to_dict("records")
    assert row["keypoints"] is None
    assert row["orientation"] is None
    assert (row["pose_confidence"], row["orientation_confidence"], row["source"]) == (0.0, 0.0, "")
    POSES.conform(rows)


HALF: Box = (300, 100, 400, 250)
"""The upper half of STANDING: a skeleton without legs."""


@pytest.mark.parametrize(
    ("box", "first", "second", "expected"),
    [
        (STANDING, [skeleton(STANDING)], [skeleton(STANDING)], ("first", False)),  # good: nobody else is asked
        (STANDING, [skeleton(HALF)], [skeleton(STANDING)], ("second", True)),  # bad fit, and the second fits better
        (STANDING, [skeleton(STANDING)], [skeleton(HALF, 0.9)], ("first", False)),
        (STANDING, [skeleton(STANDING, 0.3)], [skeleton(HALF, 0.9)], ("first", True)),  # unsure, but the better fit
        (STANDING, [], [skeleton(HALF)], ("second", True)),  # the only one
        (STANDING, [skeleton(HALF)], [], ("first", True)),
        (
            LYING,
            [skeleton(LYING, 0.3)],
            [skeleton(LYING)],
            ("first", False),
        ),  # lying: the first model's, if there is one
        (LYING, [], [skeleton(LYING)], ("second", True)),
    ],
)
def test_the_second_model_is_asked_about_those_whom_the_first_finds_badly(
    clip: Path, box: Box, first: list[Floats], second: list[Floats], expected: tuple[str, bool]
) -> None:
    """`expected`: whose skeleton is taken, and whether the second model was asked."""
    models = [Knowing("first", first), Knowing("second", second)]
    rows = estimate_poses(clip, detections((0, 1, box)), pose_models=models)
    assert (rows["source"][0], bool(models[1].sizes)) == expected


def test_a_single_model_looks_twice_and_the_second_time_closer(clip: Path) -> None:
    model = Knowing("one", [skeleton(HALF)])
    estimate_poses(clip, detections((0, 1, STANDING)), pose_models=[model])
    # 300 px tall, with half of that on each side, cut off at the frame's edges; then with 15 %.
    assert model.sizes == [(400, 480), (190, 390)]


def test_lying_people_are_shown_with_wider_surroundings(clip: Path) -> None:
    model = Knowing("one", [skeleton(LYING)])
    estimate_poses(clip, detections((0, 1, LYING)), pose_models=[model])
    assert model.sizes == [(640, 420)]


def test_keypoints_beyond_the_edge_of_the_frame_stay_there(clip: Path) -> None:
    cut: Box = (590, 100, 640, 400)
    beyond = skeleton((590, 100, 690, 400))
    rows = estimate_poses(clip, detections((0, 1, cut)), pose_models=[Knowing("one", [beyond])])
    assert np.reshape(rows["keypoints"][0], (17, 3))[:, 0].max() > 680


def test_batches_change_nothing_but_the_number_of_calls(clip: Path) -> None:
    table = detections(*((sample, track, box) for sample in range(5) for track, box in ((1, STANDING), (2, BESIDE))))
    model = Knowing("one", [skeleton(STANDING), skeleton(BESIDE)])
    whole = estimate_poses(clip, table, pose_models=[model])
    pieces = estimate_poses(clip, table, pose_models=[model], parameters=PoseParameters(batch=3))
    pd.testing.assert_frame_equal(whole, pieces)


def test_progress_rises_to_one(clip: Path) -> None:
    told: list[float] = []
    table = detections(*((sample, 1, STANDING) for sample in range(5)))
    model = Knowing("one", [skeleton(STANDING)])
    estimate_poses(clip, table, pose_models=[model], parameters=PoseParameters(batch=2), on_progress=told.append)
    assert told == [0.4, 0.8, 1.0]


def test_a_video_without_people_has_no_poses_and_its_file_is_not_opened(tmp_path: Path) -> None:
    told: list[float] = []
    rows = estimate_poses(
        tmp_path / "nothing.mp4", detections(), pose_models=[Knowing("one", [])], on_progress=told.append
    )
    assert len(rows) == 0
    assert POSES.conform(rows).schema.equals(POSES.schema, check_metadata=False)
    assert told == [1.0]


def test_no_model_at_all_is_refused(clip: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        estimate_poses(clip, detections((0, 1, STANDING)), pose_models=[])


@pytest.mark.parametrize("changes", [{"surroundings": ()}, {"surroundings": (-0.1,)}, {"batch": 0}])
def test_parameters_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        PoseParameters(**changes)


# Real models on real footage.


@pytest.fixture(scope="module")
def models(weights: Weights) -> list[Any]:
    return [MoveNet(weights("movenet")), YoloPose(weights("yolo11n-pose"))]


@pytest.fixture(scope="module")
def detector(weights: Weights) -> MoveNetDetector:
    return MoveNetDetector(weights("movenet"), tiles=(2, 1))


def people_of(path: Path, detector: Detector, rate_hz: float) -> pd.DataFrame:
    """What the detector sees, numbered from the left in each frame: not tracks, but all that poses need."""
    rows = []
    for frame in sample_frames(path, rate_hz):
        (boxes,) = detector.detect([frame.image])
        for track, box in enumerate(sorted(boxes.xyxy.tolist()), start=1):
            rows.append(_person(frame.sample, track, box, t=frame.time_s))
    return DETECTIONS.frame(rows)


def test_people_at_a_table_stand_with_their_backs_to_the_camera(
    footage: Path, models: list[Any], detector: MoveNetDetector
) -> None:
    """A person watching sees everybody from behind, from 10 s on one after another."""
    path = footage / "one-by-one-person-detection.mp4"
    rows = estimate_poses(path, people_of(path, detector, 0.1), pose_models=models)
    known = rows[rows["orientation"].notna()]
    away = np.abs((known["orientation"] + 180) % 360 - 180)
    assert len(known) >= 8
    assert (away < 50).all()
    assert away.median() < 15


def test_their_keypoints_are_where_the_whole_frame_shows_them(
    footage: Path, weights: Weights, models: list[Any], detector: MoveNetDetector
) -> None:
    path = footage / "one-by-one-person-detection.mp4"
    persons = people_of(path, detector, 0.1)
    rows = estimate_poses(path, persons, pose_models=models[:1])
    whole = MoveNet(weights("movenet"), 512)
    differences = []
    for frame, row in zip(frames_at(path, rows["time_s"].tolist()), rows.itertuples(), strict=True):
        if row.keypoints is not None and (seen := whole.estimate([frame.image])[0]):
            keypoints = np.reshape(row.keypoints, (17, 3))
            clear = (keypoints[:, 2] > 0.4) & (seen[0].keypoints[:, 2] > 0.4)
            differences.append((seen[0].keypoints - keypoints)[clear, :2])
    difference = np.concatenate(differences)
    assert len(difference) > 100
    # People are 350 px tall: 1 % of that in the mean (nothing is displaced), 3 % for the single keypoint.
    assert np.abs(np.median(difference, axis=0)).max() < 3.5
    assert np.median(np.abs(difference)) < 10


@pytest.mark.parametrize("clip_name", ["Subject_1_Fall_14", "Subject_2_Fall_12", "Subject_4_Fall_03"])
def test_whoever_lies_on_the_floor_has_a_pose(
    footage: Path, models: list[Any], detector: MoveNetDetector, clip_name: str
) -> None:
    path = footage / "gmdcsa24" / f"{clip_name}.mp4"
    persons = people_of(path, detector, 1.0)
    lying = persons[(persons["x2"] - persons["x1"]) > (persons["y2"] - persons["y1"])]
    rows = estimate_poses(path, lying, pose_models=models)
    assert len(rows) >= 2
    assert (rows["source"] == "movenet").all()


def test_the_second_model_brings_the_legs_of_who_sits(footage: Path, models: list[Any]) -> None:
    """MoveNet takes the bed beside him for his legs, outside of his box; as he is, his knees are within."""
    path = footage / "gmdcsa24" / "Subject_3_ADL_15.mp4"
    box = (363.0, 206.0, 543.0, 529.0)  # as YOLOv8n draws it
    times = [frame.time_s for frame in sample_frames(path, 0.5)]
    persons = DETECTIONS.frame([_person(i, 1, box, t=t) for i, t in enumerate(times)])
    rows = estimate_poses(path, persons, pose_models=models)
    assert rows["source"].unique().tolist() == ["yolo11n-pose"]
    knees = np.stack(rows["keypoints"].to_list()).reshape(-1, 17, 3)[:, [KNEE_LEFT, KNEE_RIGHT], :2]
    assert ((knees > box[:2]) & (knees < box[2:])).all()
