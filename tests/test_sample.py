"""The composed sample is a clip in which the models find what it claims to show, and which says what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sentinel_assets.sample import LABEL, compose_sample
from sentinel_assets.vision.frames import frames_at, probe, sample_frames


@pytest.fixture(scope="module")
def photos(weights: Callable[[str], Path]) -> tuple[Path, Path]:
    return weights("photo-bus"), weights("photo-zidane")


@pytest.fixture(scope="module")
def sample(photos: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("sample") / "new" / "sample.mp4"
    compose_sample(*photos, destination)
    return destination


def test_the_sample_is_28_seconds_of_h264_below_2_mb(sample: Path) -> None:
    clip = probe(sample)
    assert (clip.width, clip.height, clip.codec) == (960, 540, "h264")
    assert clip.duration_s == pytest.approx(28)
    assert clip.average_rate == pytest.approx(10)
    assert sample.stat().st_size < 2_000_000
    assert [path.name for path in sample.parent.iterdir()] == ["sample.mp4"]


def test_the_same_photos_give_the_same_file(sample: Path, photos: tuple[Path, Path], tmp_path: Path) -> None:
    """An asset's data version is the digest of the file: composing it again must not make everything out of date."""
    compose_sample(*photos, tmp_path / "again.mp4")
    assert (tmp_path / "again.mp4").read_bytes() == sample.read_bytes()


def test_every_frame_is_labelled_in_its_pixels(sample: Path) -> None:
    assert LABEL == "COMPOSITION, NOT REAL FOOTAGE"
    bands = [frame.crop(0, 516, 320, 540).astype(int).mean(axis=2) for frame in sample_frames(sample, 10)]
    assert len(bands) == 280
    for band in bands:
        written = band > 150
        assert 0.05 < written.mean() < 0.4  # letters on a dark band
        assert np.abs(band - bands[0]).mean() < 6  # the same ones throughout


def test_a_detector_finds_the_people_that_the_sample_shows(sample: Path, weights: Callable[[str], Path]) -> None:
    """One stands, another walks through from 1 to 6 s, comes back from 10 s, stands from 13 s; nobody; then a pair."""
    from sentinel_assets.vision.models.yolo import YoloPersonDetector

    shown = {0: 1, 1: 2, 4: 2, 6: 2, 8: 1, 10: 2, 12: 2, 13: 2, 15: 2, 17: 0, 20: 2, 24: 2}
    frames = list(frames_at(sample, list(shown)))
    found = YoloPersonDetector(weights("yolov8n")).detect([frame.image for frame in frames])
    lefts = {
        second: sorted(boxes.xyxy[boxes.confidence > 0.5][:, 0]) for second, boxes in zip(shown, found, strict=True)
    }
    assert {second: len(left) for second, left in lefts.items()} == shown

    standing = [min(left, key=lambda x: abs(x - 739)) for second, left in lefts.items() if second < 16]
    assert np.ptp(standing) < 25
    assert lefts[4][0] - lefts[1][0] == pytest.approx(3 * 157, abs=12)  # to the right
    assert lefts[10][-1] - lefts[12][0] == pytest.approx(2 * 157, abs=12)  # and back
    assert lefts[15][0] == pytest.approx(lefts[13][0], abs=5)  # and stands


def test_faces_of_the_close_up_are_large_enough_for_age_and_gender(
    sample: Path, weights: Callable[[str], Path]
) -> None:
    from sentinel_assets.vision.models.centerface import CenterFace

    (frame,) = frames_at(sample, [22.0])
    (faces,) = CenterFace(weights("centerface")).detect([frame.image])
    heights = faces.boxes.xyxy[:, 3] - faces.boxes.xyxy[:, 1]
    assert len(faces.boxes) == 2
    assert heights.min() >= 40
