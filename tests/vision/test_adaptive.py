"""Looking closer where people are: at the right instants, each frame once, and no more than there is cause for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sentinel_assets.vision.adaptive import AdaptiveSampling, candidates, instants, spans_around
from sentinel_assets.vision.adaptive_detections import detect_adaptively
from sentinel_assets.vision.behaviors import recognise_behaviors
from sentinel_assets.vision.frames import probe, sample_frames
from sentinel_assets.vision.protocols import Boxes, Faces, Image
from sentinel_assets.vision.tables import POSES, Sampling
from tests.builders.clips import write_clip
from tests.builders.tracks import Act, Scene, stay

WIDTH, HEIGHT, RATE = 320, 240, 20


class BrightDetector:
    """Finds one bright figure on black: what a detector does, without weights."""

    name = "bright"

    def __init__(self) -> None:
        self.frames = 0

    def detect(self, images: Sequence[Image]) -> list[Boxes]:
        self.frames += len(images)
        return [self._one(image) for image in images]

    def _one(self, image: Image) -> Boxes:
        rows, columns = np.nonzero(image[:, :, 1] > 128)
        if not len(rows):
            return Boxes.none()
        corners = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        return Boxes(corners, np.array([0.9], np.float32))


class NoFaces:
    name = "none"

    def detect(self, images: Sequence[Image]) -> list[Faces]:
        return [Faces(Boxes.none(), np.zeros((0, 5, 2), np.float32)) for _ in images]


def figure(number: int, width: int, height: int) -> Image:
    """Nobody, but for somebody who walks in at 10 s, falls at 12 s, and is away again from 14 s on."""
    image = np.zeros((height, width, 3), np.uint8)
    time_s = number / RATE
    if 10 <= time_s < 12:
        x = 60 + round(40 * (time_s - 10))
        image[60:180, x : x + 40] = 255
    elif 12 <= time_s < 14:
        image[140:180, 100:220] = 255
    return image


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adaptive") / "visit.mp4"
    write_clip(path, picture=figure, frames=30 * RATE, width=WIDTH, height=HEIGHT, rate=RATE)
    return path


def test_the_rate_is_raised_around_people_and_once_more_around_a_fall(clip: Path) -> None:
    detector = BrightDetector()
    table = detect_adaptively(
        clip, probe(clip), detector=detector, face_detector=NoFaces(), sampling=AdaptiveSampling()
    )
    sampling = Sampling.of(table)
    times = np.array(sampling.times_s)
    steps = dict(zip(np.round(times[1:], 3), np.round(np.diff(times), 3), strict=True))
    assert steps[5.0] == steps[20.0] == 1.0  # nobody there
    assert steps[8.0] == 0.2  # 3 s before the first scout's sight of somebody
    assert steps[12.0] == 0.1  # the fall
    assert steps[25.0] == 1.0
    assert detector.frames == len(times), "no frame is looked at twice"
    assert len(times) / 30 < 4
    assert table["sample"].tolist() == [sampling.times_s.index(t) for t in table["time_s"]]
    assert table["track"].nunique() == 1
    assert recognise_behaviors(table, POSES.frame([]))["end_s"].max() == pytest.approx(13.9)


def test_of_a_video_without_people_the_scout_is_all(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    write_clip(path, picture=lambda n, w, h: figure(0, w, h), frames=5 * RATE, width=WIDTH, height=HEIGHT, rate=RATE)
    detector = BrightDetector()
    table = detect_adaptively(
        path, probe(path), detector=detector, face_detector=NoFaces(), sampling=AdaptiveSampling()
    )
    assert Sampling.of(table).times_s == tuple(f.time_s for f in sample_frames(path, 1.0))
    assert detector.frames == 5


def test_equal_rates_are_the_fixed_sampling(clip: Path) -> None:
    """With one rate for all there is nothing to look at again."""
    table = detect_adaptively(
        clip, probe(clip), detector=BrightDetector(), face_detector=NoFaces(), sampling=AdaptiveSampling(5, 5, 5)
    )
    assert Sampling.of(table).times_s == tuple(f.time_s for f in sample_frames(clip, 5.0))


def test_spans_and_instants_are_on_the_grid_and_within_the_video() -> None:
    assert spans_around([1.0, 20.0, 5.0], 3.0) == [(0.0, 8.0), (17.0, 23.0)]
    assert instants([(0.5, 1.5)], 5.0, but=1.0, end_s=9.0) == [0.6, 0.8, 1.2, 1.4]
    assert instants([(8.0, 12.0)], 2.0, but=1.0, end_s=9.0) == [8.5]
    assert instants([(0.0, 1.0)], 10.0, but=4.0, end_s=9.0) == [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]


def test_candidates_are_meetings_and_sudden_changes_of_shape() -> None:
    tall, flat = [100.0, 100, 150, 250], [60.0, 200, 210, 250]
    beside, far = [200.0, 100, 250, 250], [500.0, 100, 550, 250]
    times = [0.0, 0.2, 0.4, 0.6]
    one, two = np.array([1], np.int32), np.array([1, 2], np.int32)
    sampling = AdaptiveSampling()
    assert candidates(times, [np.array([tall])] * 4, [one] * 4, sampling) == []
    falls = [np.array([box]) for box in (tall, tall, flat, flat)]
    assert candidates(times, falls, [one] * 4, sampling) == [0.4]
    meets = [np.array([tall, far]), *[np.array([tall, beside])] * 3]
    assert candidates(times, meets, [two] * 4, sampling) == [0.2]  # told once, not at every sample


@pytest.mark.parametrize("heading", [70.0, 90.0, 250.0])
def test_an_arm_that_is_put_out_across_the_picture_is_a_candidate(heading: float) -> None:
    """Once, when it goes out; a shape that changes would be told too, so that is left out here."""
    sampling = AdaptiveSampling(change=99.0)
    reaches = stay([Act(0, "swaying"), Act(3, "reaching", 0.4), Act(5, "swaying", 0.4)], heading_deg=heading)
    for seed in range(3):
        (when,) = candidates(*seen(Scene((reaches,), 8, 5.0, box_noise=0.01, seed=seed)), sampling)
        assert 3.0 <= when <= 3.6
    stands = stay([Act(0, "swaying")], heading_deg=heading)
    assert candidates(*seen(Scene((stands,), 8, 5.0, box_noise=0.01)), sampling) == []


def seen(scene: Scene) -> tuple[list[float], list[np.ndarray], list[np.ndarray]]:
    """Times, boxes and numbers of the people of a scene."""
    found = [scene.boxes(time_s) for time_s in scene.times_s]
    boxes = [boxes.xyxy.astype(np.float64) for _, boxes in found]
    return list(scene.times_s), boxes, [np.array(numbers, np.int32) for numbers, _ in found]


@pytest.mark.parametrize("rates", [(5.0, 1.0, 10.0), (0.0, 5.0, 10.0), (1.0, 5.0, 60.0)])
def test_bad_rates_are_refused(rates: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        AdaptiveSampling(*rates)
