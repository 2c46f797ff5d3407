"""Where a body faces, from keypoints: the convention, its symmetries, and what is left unknown."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sentinel_assets.vision.orientation import in_words, mean_direction, orientation_of
from sentinel_assets.vision.protocols import Floats
from tests.builders.tracks import Act, Camera, Scene, stay

MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]

# Whole pixels, so that lengths are pixels or nothing, not what rounding leaves.
coordinates = arrays.arrays(np.float64, (17, 2), elements=st.integers(0, 400).map(float))
scores = arrays.arrays(np.float64, (17, 1), elements=st.floats(0, 1))


def apart(one: float, other: float) -> float:
    """Degrees between two directions, [0, 180]."""
    return abs((one - other + 180) % 360 - 180)


def figure(facing: float, *, tilt_deg: float = 15.0) -> Floats:
    """The keypoints of a synthetic person who faces there, in the convention of `orientation`."""
    # The builder's headings run the other way round: 90 is the image's right.
    actor = stay([Act(0.0, "standing")], heading_deg=(360 - facing) % 360)
    scene = Scene((actor,), 1.0, camera=Camera(tilt_deg=tilt_deg), point_noise=0.0)
    ((_, _, keypoints),) = scene.views(0.0)
    return keypoints.astype(np.float32)


@pytest.mark.parametrize("facing", range(0, 360, 15))
@pytest.mark.parametrize("tilt_deg", [5.0, 15.0, 30.0])
def test_a_synthetic_person_faces_where_it_was_put(facing: int, tilt_deg: float) -> None:
    """Within 45 degrees: the figure holds its head straight over its shoulders, which real people do not."""
    found = orientation_of(figure(facing, tilt_deg=tilt_deg))
    assert found is not None
    assert apart(found.degrees, facing) <= 45


@pytest.mark.parametrize(
    ("facing", "words"),
    [
        (0, "back to the camera"),
        (90, "facing left"),
        (180, "facing the camera"),
        (270, "facing right"),
    ],
)
def test_the_four_directions_are_named_as_the_table_declares_them(facing: int, words: str) -> None:
    found = orientation_of(figure(facing))
    assert found is not None
    assert in_words(found.degrees) == words


@settings(deadline=None)
@given(coordinates, scores)
def test_mirroring_a_skeleton_mirrors_its_direction(points: Floats, score: Floats) -> None:
    keypoints = np.hstack([points, score])
    mirrored = keypoints[MIRRORED]
    mirrored[:, 0] = 400 - mirrored[:, 0]
    one, other = orientation_of(keypoints), orientation_of(mirrored)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert apart(other.degrees, 360 - one.degrees) < 1e-3
        assert other.confidence == pytest.approx(one.confidence, abs=1e-6)


@settings(deadline=None)
@given(coordinates, scores, st.floats(0.1, 20), st.floats(-1000, 1000))
def test_neither_size_nor_place_changes_a_direction(points: Floats, score: Floats, scale: float, shift: float) -> None:
    one = orientation_of(np.hstack([points, score]))
    other = orientation_of(np.hstack([points * scale + shift, score]))
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert apart(one.degrees, other.degrees) < 1e-3
        assert 0 < one.confidence <= 1


@settings(deadline=None)
@given(coordinates, scores)
def test_every_direction_is_within_the_circle(points: Floats, score: Floats) -> None:
    found = orientation_of(np.hstack([points, score]))
    assert found is None or 0 <= found.degrees < 360


@pytest.mark.parametrize("shoulder", [5, 6])
def test_without_both_shoulders_the_direction_is_unknown(shoulder: int) -> None:
    keypoints = figure(180)
    keypoints[shoulder, 2] = 0.1
    assert orientation_of(keypoints) is None


def test_who_lies_across_the_image_has_no_direction() -> None:
    standing = figure(180)
    lying = standing[:, [1, 0, 2]]
    assert orientation_of(standing) is not None
    assert orientation_of(lying) is None


def test_who_is_cut_off_at_the_chest_still_has_a_direction() -> None:
    keypoints = figure(180)
    keypoints[11:, 2] = 0.05
    found = orientation_of(keypoints)
    assert found is not None
    assert apart(found.degrees, 180) < 10


def test_weak_keypoints_give_less_confidence() -> None:
    clear, weak = figure(180), figure(180)
    clear[:, 2], weak[:, 2] = 0.9, 0.4
    strong, faint = orientation_of(clear), orientation_of(weak)
    assert strong is not None
    assert faint is not None
    assert faint.confidence < strong.confidence


def test_a_front_without_a_face_is_half_as_sure() -> None:
    plain, hidden = figure(180), figure(180)
    plain[:, 2] = hidden[:, 2] = 0.9
    hidden[:3, 2] = 0.05
    seen, faceless = orientation_of(plain), orientation_of(hidden)
    assert seen is not None
    assert faceless is not None
    assert faceless.confidence == pytest.approx(seen.confidence / 2)


def test_a_skeleton_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(33, 3\)"):
        orientation_of(np.zeros((33, 3), np.float32))


@pytest.mark.parametrize(
    ("angles", "weights", "expected"),
    [
        ([350, 10], None, 0),  # never 180
        ([355, 5, 0], None, 0),
        ([90, 90], None, 90),
        ([0, 90], None, 45),
        ([0, 90], [1, 0], 0),  # what has no weight does not count
        ([0, 90, 90], [2, 1, 1], 45),
    ],
)
def test_angles_are_averaged_as_unit_vectors(angles: list[float], weights: list[float] | None, expected: float) -> None:
    mean = mean_direction(angles, weights)
    assert mean is not None
    assert apart(mean.degrees, expected) < 1e-6


@pytest.mark.parametrize(
    ("angles", "weights"),
    [
        ([], None),  # nothing to average
        ([0, 180], None),  # they cancel out
        ([0, 90, 180, 270], None),
        ([45], [0]),
    ],
)
def test_angles_without_a_mean_have_none(angles: list[float], weights: list[float] | None) -> None:
    assert mean_direction(angles, weights) is None


@settings(deadline=None)
@given(st.lists(st.floats(0, 360), min_size=1, max_size=8), st.floats(-720, 720))
def test_turning_all_angles_turns_their_mean(angles: list[float], turn: float) -> None:
    one, other = mean_direction(angles), mean_direction([a + turn for a in angles])
    if one is not None and one.confidence > 1e-3:
        assert other is not None
        assert apart(other.degrees, one.degrees + turn) < 1e-3
        assert math.isclose(other.confidence, one.confidence, abs_tol=1e-6)


def test_agreement_is_the_confidence_of_a_mean() -> None:
    together, apart_ = mean_direction([90, 92]), mean_direction([90, 200])
    assert together is not None
    assert apart_ is not None
    assert together.confidence > 0.99
    assert apart_.confidence < 0.6


@pytest.mark.parametrize(("weights", "why"), [([1.0], "1 weights for 2"), ([1.0, -1.0], "negative")])
def test_weights_that_do_not_fit_are_refused(weights: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        mean_direction([0, 90], weights)


@pytest.mark.parametrize(
    ("degrees", "words"),
    [
        (0, "back to the camera"),
        (22, "back to the camera"),
        (338, "back to the camera"),
        (360, "back to the camera"),
        (45, "back to the camera, turned left"),
        (135, "facing the camera, turned left"),
        (225, "facing the camera, turned right"),
        (315, "back to the camera, turned right"),
    ],
)
def test_eight_directions_have_words(degrees: float, words: str) -> None:
    assert in_words(degrees) == words
