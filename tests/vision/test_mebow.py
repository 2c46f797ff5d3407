"""MEBOW: where a body faces and its keypoints, as the published evaluation has them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sentinel_assets.vision.detections import detect_people
from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.frames import probe, sample_frames
from sentinel_assets.vision.models.mebow import (
    INPUT,
    Mebow,
    crop,
    direction_of,
    normalised,
    peaks_of,
    placed,
    pose_of,
    warp,
)
from sentinel_assets.vision.orientation import in_shop_frame, in_words, mean_direction
from sentinel_assets.vision.poses import estimate_poses
from sentinel_assets.vision.protocols import BodyView, Boxes, Faces, Image, People
from sentinel_assets.vision.tables import POSES
from tests.builders.networks import SMALL_HRNET, write_mebow
from tests.builders.oracles import boxes_of, made_checkpoint

LEVEL = 0 if cv2.__version__.startswith("5.") else 1
"""Grey levels by which a crop may differ from the reference's, which another OpenCV made."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Mebow:
    return Mebow(write_mebow(tmp_path_factory.mktemp("weights") / "model_hboe.pth"), size=SMALL_HRNET)


def noise(height: int = 300, width: int = 400) -> Image:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def views(count: int) -> list[BodyView]:
    image = noise()
    return [BodyView(image, np.array([10 + 7 * i, 20, 90 + 9 * i, 250], np.float32)) for i in range(count)]


def distribution(**mass: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    bins = np.zeros(72, np.float32)
    for name, part in mass.items():
        bins[int(name.removeprefix("bin"))] = part
    return bins


@pytest.mark.parametrize(
    ("bins", "degrees", "confidence", "words"),
    [
        pytest.param(distribution(bin0=1), 0, 1, "back to the camera", id="left edge of the bin, not its middle"),
        pytest.param(distribution(bin18=1), 90, 1, "facing left", id="counter-clockwise: the image's left"),
        pytest.param(distribution(bin36=1), 180, 1, "facing the camera", id="the camera"),
        pytest.param(distribution(bin54=1), 270, 1, "facing right", id="the image's right"),
        pytest.param(distribution(bin0=0.6, bin36=0.4), 0, 0.2, "back to the camera", id="front or back: unsure"),
        pytest.param(np.full(72, 1 / 72, np.float32), 0, 0, "back to the camera", id="anything"),
    ],
)
def test_a_distribution_is_a_direction(
    bins: np.ndarray[tuple[int], np.dtype[np.float32]], degrees: float, confidence: float, words: str
) -> None:
    found = direction_of(bins)
    assert (found.degrees, found.confidence) == (degrees, pytest.approx(confidence, abs=1e-6))
    assert in_words(found.degrees) == words


def test_the_published_label_is_as_sure_as_its_gaussian() -> None:
    around = (np.arange(72) + 36) % 72 - 36
    label = np.exp(-(around.astype(np.float32) ** 2) / (2 * 4**2))
    assert direction_of(label / label.sum()).confidence == pytest.approx(0.941, abs=1e-3)


@pytest.mark.parametrize(
    ("degrees", "yaw", "column", "expected"),
    [
        # The camera looks along the axis from which the shop counts.
        pytest.param(0, 0, None, 0, id="back to the camera: looks where the camera looks"),
        pytest.param(180, 0, None, 180, id="facing the camera"),
        # It is turned to the left by a quarter, seen from above.
        pytest.param(0, 90, None, 90, id="a turned camera"),
        pytest.param(300, 90, None, 30, id="beyond the full circle"),
        # One who stands at the edge of a view of 90 degrees is seen along a ray 45 degrees beside the axis.
        pytest.param(0, 0, 640, 315, id="at the right edge: the ray points to the right"),
        pytest.param(0, 0, 0, 45, id="at the left edge"),
        pytest.param(0, 0, 320, 0, id="in the middle"),
    ],
)
def test_a_direction_in_the_shop(degrees: float, yaw: float, column: float | None, expected: float) -> None:
    found = in_shop_frame(degrees, camera_yaw=yaw, column=column, width=640, field_of_view=90)
    assert found == pytest.approx(expected, abs=1e-6)


def test_directions_are_averaged_as_vectors() -> None:
    mean = mean_direction([355.0, 5.0])
    assert mean is not None
    assert mean.degrees == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("box", "middle", "extent"),
    [
        # 1.25 times the box after its shorter side was lengthened to 3:4.
        pytest.param((100, 100, 160, 260), (130, 180), (150, 200), id="narrow: made wider"),
        pytest.param((100, 100, 400, 260), (250, 180), (375, 500), id="lying: made higher"),
        pytest.param((0.5, 0.25, 75.5, 100.25), (38, 50.25), (93.75, 125), id="3:4 already, no whole px"),
    ],
)
def test_the_box_is_made_three_by_four_and_enlarged(
    box: tuple[float, ...], middle: tuple[float, ...], extent: tuple[float, ...]
) -> None:
    found = placed(np.array(box, np.float32))
    assert found[0] == pytest.approx(middle)
    assert found[1] == pytest.approx(extent)


def test_a_crop_shows_the_box_and_black_beyond_the_frame() -> None:
    image = np.full((200, 100, 3), 200, np.uint8)
    seen = crop(image, np.array([0, 0, 100, 200], np.float32))
    assert seen.shape == (INPUT[1], INPUT[0], 3)
    assert (seen[128, [0, -1]] == 0).all()
    assert (seen[128, 96] == 200).all()
    shown = (seen > 0).all(axis=2)
    # 200 px high of 250 that the crop shows, 100 px wide of 187.5.
    assert shown[:, 96].sum() == pytest.approx(256 * 200 / 250, abs=2)
    assert shown[128].sum() == pytest.approx(192 * 100 / 187.5, abs=2)


def test_keypoints_come_back_to_where_they_are_in_the_image() -> None:
    box = np.array([50, 40, 130, 260], np.float32)
    heatmaps = np.zeros((17, 64, 48), np.float32)
    heatmaps[:, 30, 20] = 0.8
    heatmaps[:, 30, 21] = 0.2  # to the right of the peak it is higher than to the left
    heatmaps[5] = -1
    pose = pose_of(heatmaps, box)
    into_crop = warp(box, (48, 64))
    place = into_crop[:, :2] @ pose.keypoints[0, :2] + into_crop[:, 2]
    assert place == pytest.approx([20.25, 30], abs=1e-3)
    assert pose.keypoints[0, 2] == pytest.approx(0.8)
    assert pose.keypoints[5, 2] == 0
    points, peaks = peaks_of(heatmaps)
    assert tuple(points[5]) == (0, 0)
    assert peaks[5] == -1


def test_rows_are_independent_and_in_order(small: Mebow) -> None:
    together = small.estimate_bodies(views(5))
    for view, found in zip(views(5), together, strict=True):
        (alone,) = small.estimate_bodies([view])
        assert alone.pose.keypoints == pytest.approx(found.pose.keypoints, abs=1e-2)
        assert alone.direction.degrees == found.direction.degrees
    assert small.estimate_bodies([]) == []


def test_a_batch_that_does_not_fit_is_halved_and_the_work_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The network itself raises what torch raises on a full GPU, as soon as more than two rows come together."""
    model = Mebow(write_mebow(tmp_path / "model_hboe.pth"), size=SMALL_HRNET, batch=8)
    expected = model.estimate_bodies(views(7))
    sizes: list[int] = []

    def only_two(_: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
        sizes.append(len(given[0]))
        if len(given[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = model.network.register_forward_pre_hook(only_two)
    found = model.estimate_bodies(views(7))
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert [one.direction for one in found] == [one.direction for one in expected]
    assert "going on with 3" in caplog.text
    hook.remove()

    def nothing(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.network.register_forward_pre_hook(nothing)
    with pytest.raises(ModelError, match="not enough memory for a single image"):
        model.estimate_bodies(views(2))


class Everywhere:
    """A detector that sees one person in each picture."""

    name = "everywhere"

    def detect_people(self, images: list[Image]) -> list[People]:
        found = [
            Boxes(np.array([[0.3 * i.shape[1], 0, 0.6 * i.shape[1], i.shape[0]]], np.float32), np.ones(1, np.float32))
            for i in images
        ]
        return [People(boxes, Faces.without_landmarks(Boxes.none())) for boxes in found]


def test_the_poses_of_real_frames(small: Mebow, people: Path) -> None:
    """The table holds, for each person, the network's own answer to the crop from the whole frame."""
    detections = detect_people(sample_frames(people, 1.0), probe(people), detector=Everywhere(), face_detector=None)
    table = estimate_poses(people, detections, pose_models=[small])
    POSES.conform(table)
    assert len(table) == len(detections) > 2
    assert set(table["source"]) <= {"mebow", ""}
    frames = {frame.sample: frame.image for frame in sample_frames(people, 1.0)}
    compared = 0
    for (_, row), (_, seen) in zip(table.iterrows(), detections.iterrows(), strict=True):
        box = seen[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)
        (whole,) = small.estimate_bodies([BodyView(frames[row["sample"]], box)])
        if row["source"] == "mebow" and whole.direction.confidence >= 0.2:
            # Chroma is interpolated within a cut-out, which may move a random network's answer by a bin.
            apart = abs((row["orientation"] - whole.direction.degrees + 180) % 360 - 180)
            assert apart <= 15
            compared += 1
    assert compared


def test_the_crops_of_the_reference(oracle: Path) -> None:
    golden = np.load(oracle / "goldens" / "mebow.npz")
    for index, name in enumerate(str(name) for name in golden["names"][:3]):
        _, *case, place = name.split("/")
        image, boxes, _ = boxes_of(oracle, "/".join(case))
        box = boxes[int(place)]
        middle, extent = placed(box)
        assert middle == pytest.approx(golden[f"{name}/center"], abs=1e-4)
        assert extent / 200 == pytest.approx(golden[f"{name}/scale"], abs=1e-6)
        assert warp(box) == pytest.approx(golden[f"{name}/trans"], abs=1e-9)
        assert np.abs(crop(image, box).astype(int) - golden[f"{name}/warp"]).max() <= LEVEL
        assert np.abs(normalised(golden[f"{name}/warp"]) - golden["x"][index]).max() < 1e-6


@pytest.mark.drill
def test_the_answers_of_the_reference(oracle: Path, tmp_path: Path) -> None:
    """With the reference's seeded weights, end to end for every scene whose picture is there."""
    golden = np.load(oracle / "goldens" / "mebow.npz")
    model = Mebow(made_checkpoint(oracle, "mebow", tmp_path))
    with torch.inference_mode():
        heatmaps, bins = (part.numpy() for part in model.network(torch.from_numpy(golden["x"])))
    # Heatmaps reach 20 here: a processor that adds up in another order is 3e-4 away, in single precision.
    scale = 1 if torch.backends.cpu.get_cpu_capability() == "AVX512" else float(np.abs(golden["heatmaps"]).max())
    assert np.abs(heatmaps - golden["heatmaps"][:3]).max() / scale < 1e-4
    assert np.abs(bins - golden["hoe"][:3]).max() < 1e-4
    compared = 0
    for index, name in enumerate(str(name) for name in golden["names"]):
        kind, *case, place = name.split("/")
        if kind != "eval" or not (oracle / "data" / f"{case[0]}.png").exists():
            continue
        image, boxes, _ = boxes_of(oracle, "/".join(case))
        box = boxes[int(place)]
        (found,) = model.estimate_bodies([BodyView(image, box)])
        assert found.direction.degrees == golden["degrees"][index]
        apart = np.abs(found.pose.keypoints[:, :2] - golden["kp/image_xy"][index]).max(axis=1)
        # Of two neighbours almost as high, 28.92 and 28.90, the other may be the peak: one px of the heatmap.
        assert apart.max() < placed(box)[1][0] / 48
        assert (apart > 0.5).sum() <= 1
        compared += 1
    assert compared >= 6
