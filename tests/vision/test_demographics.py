"""Age and gender of tracks: known where a face shows them, else unknown with the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_assets import models
from sentinel_assets.vision.demographics import DemographicsParameters, estimate_demographics, frontality
from sentinel_assets.vision.detections import detect_people
from sentinel_assets.vision.frames import probe, sample_frames
from sentinel_assets.vision.protocols import Attributes, FaceCrop
from sentinel_assets.vision.tables import DEMOGRAPHICS, DETECTIONS, Sampling
from tests.builders.clips import frame_number, write_clip
from tests.builders.photos import photo, write_still

SECONDS = 6


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of 640x480 whose frames say which they are."""
    path = tmp_path_factory.mktemp("clips") / "numbered.mp4"
    write_clip(path, frames=SECONDS * 5, rate=5, width=640, height=480)
    return path


FRONTAL = ((0.33, 0.4), (0.67, 0.4), (0.5, 0.6), (0.37, 0.8), (0.63, 0.8))
PROFILE = ((0.8, 0.4), (0.9, 0.4), (0.98, 0.6), (0.8, 0.8), (0.88, 0.8))


def face(
    track: int, sample: int, height: float, *, score: float = 0.9, marks: Sequence[tuple[float, float]] = FRONTAL
) -> dict[str, Any]:
    width, x, y = 0.8 * height, 200.0, 150.0
    landmarks = [value for mx, my in marks for value in (x + mx * width, y + my * height)]
    return row(track, sample, "face", (x, y, x + width, y + height), score) | {"landmarks": landmarks}


def row(
    track: int | None, sample: int, kind: str, box: tuple[float, float, float, float], confidence: float = 0.9
) -> dict[str, Any]:
    where = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
    about = {"sample": sample, "time_s": float(sample), "kind": kind, "track": track, "confidence": confidence}
    return {**about, **where, "source": "test", "landmarks": None}


def detections(*faces: dict[str, Any], tracks: Sequence[int] = (1,)) -> pd.DataFrame:
    people = [row(track, 0, "person", (150, 100, 400, 470)) for track in tracks]
    table = DETECTIONS.frame([*people, *faces])
    times = tuple(float(second) for second in range(SECONDS))
    table.attrs["sampling"] = Sampling(640, 480, float(SECONDS), 1.0, times).to_json()
    return table


@dataclass
class Says:
    """An attribute model whose answer to each frame is given; it notes the frames that it was shown."""

    answers: dict[int, Attributes]
    name: str = "says"

    def __post_init__(self) -> None:
        self.crops: list[FaceCrop] = []

    def estimate(self, faces: Sequence[FaceCrop]) -> list[Attributes]:
        self.crops += faces
        return [self.answers[len(self.crops) - len(faces) + i] for i in range(len(faces))]


def always(age: float = 30.0, male: float = 0.95, sure: float = 0.9) -> Says:
    return Says({i: Attributes(age, sure, male, sure) for i in range(100)})


def only(table: pd.DataFrame) -> dict[str, Any]:
    DEMOGRAPHICS.conform(table)
    assert len(table) == 1
    return dict(table.iloc[0])


@pytest.mark.parametrize(
    ("faces", "reason", "height"),
    [
        pytest.param([], "no face seen", None, id="never a face"),
        pytest.param([face(1, 0, 14.4)], "largest face 14 px, 32 needed", 14.4, id="small"),
        pytest.param([face(1, 0, 31.9)], "largest face 31 px, 32 needed", 31.9, id="just too small"),
        pytest.param([face(1, 0, 60, marks=PROFILE)], "no face of 32 px or more is clear", 60, id="in profile"),
        pytest.param([face(1, 0, 60, score=0.5)], "no face of 32 px or more is clear", 60, id="hardly a face"),
        pytest.param([face(2, 0, 60)], "no face seen", None, id="another person's face"),
    ],
)
def test_without_a_good_face_nothing_is_known_and_nothing_decoded(
    faces: list[dict[str, Any]], reason: str, height: float | None
) -> None:
    found = only(
        estimate_demographics(Path("never-opened.mp4"), detections(*faces), attribute_model=always()),
    )
    assert found["reason"].startswith(reason)
    assert found["gender"] == "unknown"
    assert found["age"] is None or np.isnan(found["age"])
    assert (found["age_confidence"], found["gender_confidence"], found["faces_used"]) == (0, 0, 0)
    assert pd.isna(found["face_height"]) if height is None else found["face_height"] == pytest.approx(height)


def test_a_good_face_gives_age_and_gender(clip: Path) -> None:
    found = only(estimate_demographics(clip, detections(face(1, 2, 100)), attribute_model=always()))
    assert found["age"] == pytest.approx(30)
    assert (found["age_low"], found["age_high"]) == pytest.approx((20, 40))
    assert found["gender"] == "male"
    assert 0.5 < found["gender_confidence"] <= 0.9
    assert found["reason"] == ""


def test_a_large_face_in_profile_is_taken_with_less_trust(clip: Path) -> None:
    frontal = only(estimate_demographics(clip, detections(face(1, 0, 120)), attribute_model=always()))
    turned = only(estimate_demographics(clip, detections(face(1, 0, 120, marks=PROFILE)), attribute_model=always()))
    assert 0 < turned["age_confidence"] < frontal["age_confidence"]
    assert turned["gender"] == "male"


def test_the_three_best_faces_are_cut_from_their_own_frames(clip: Path) -> None:
    model = always()
    heights = [100, 40, 120, 110, 35, 50]
    table = detections(*(face(1, sample, height) for sample, height in enumerate(heights)))
    assert only(estimate_demographics(clip, table, attribute_model=model))["faces_used"] == 3
    cut = [crop.box[3] - crop.box[1] for crop in model.crops]
    assert cut == pytest.approx([100, 120, 110])


def test_a_crop_shows_the_frame_of_its_time(clip: Path) -> None:
    """The barcode fills the frame, so a face as large as the frame brings it whole."""
    model = always()
    whole = face(1, 3, 100) | {"x1": 0.0, "y1": 0.0, "x2": 640.0, "y2": 480.0}
    whole["landmarks"] = [v for mx, my in FRONTAL for v in (mx * 640, my * 480)]
    estimate_demographics(clip, detections(whole), attribute_model=model)
    assert [frame_number(crop.image) for crop in model.crops] == [15]


def test_ages_are_fused_by_their_median_and_their_spread_widens_the_range(clip: Path) -> None:
    agreeing = Says({i: Attributes(age, 0.9, 0.9, 0.9) for i, age in enumerate([29.0, 30.0, 31.0])})
    one_off = Says({i: Attributes(age, 0.9, 0.9, 0.9) for i, age in enumerate([29.0, 30.0, 70.0])})
    table = detections(*(face(1, sample, 100) for sample in range(3)))
    calm = only(estimate_demographics(clip, table, attribute_model=agreeing))
    torn = only(estimate_demographics(clip, table, attribute_model=one_off))
    assert calm["age"] == torn["age"] == pytest.approx(30)
    assert torn["age_high"] - torn["age_low"] > 1.5 * (calm["age_high"] - calm["age_low"])
    assert torn["age_confidence"] < calm["age_confidence"]


def test_faces_that_disagree_on_the_gender_leave_it_unknown(clip: Path) -> None:
    model = Says({0: Attributes(30, 0.9, 0.95, 0.9), 1: Attributes(30, 0.9, 0.05, 0.9)})
    found = only(estimate_demographics(clip, detections(face(1, 0, 90), face(1, 1, 90)), attribute_model=model))
    assert found["gender"] == "unknown"
    assert found["gender_confidence"] == 0
    assert found["reason"].startswith("gender confidence")
    assert found["age"] == pytest.approx(30)


def test_an_unsure_model_leaves_both_unknown(clip: Path) -> None:
    found = only(estimate_demographics(clip, detections(face(1, 0, 90)), attribute_model=always(sure=0.1)))
    assert found["gender"] == "unknown"
    assert pd.isna(found["age"])
    assert found["reason"].count("needed") == 2


def test_every_track_has_its_row_in_order(clip: Path) -> None:
    table = detections(face(2, 0, 90), face(7, 1, 90), tracks=(7, 2, 5))
    told: list[float] = []
    found = estimate_demographics(clip, table, attribute_model=always(), on_progress=told.append)
    assert found["track"].tolist() == [2, 5, 7]
    assert found["gender"].tolist() == ["male", "unknown", "male"]
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_nobody_gives_an_empty_table() -> None:
    assert estimate_demographics(Path("x"), detections(tracks=()), attribute_model=always()).empty


@given(st.lists(st.floats(5, 79), min_size=1, max_size=3), st.floats(0.3, 1))
def test_the_age_lies_in_its_range_and_the_range_in_what_was_seen(ages: list[float], sure: float) -> None:
    from sentinel_assets.vision.demographics import _fused_age

    parameters = DemographicsParameters()
    fused = _fused_age(np.ones(len(ages)), [Attributes(a, sure, 0.5, 0) for a in ages], parameters)
    assert min(ages) - 1e-6 <= fused["age"] <= max(ages) + 1e-6
    assert 0 <= fused["age_low"] <= fused["age"] <= fused["age_high"]
    assert 0 <= fused["age_confidence"] <= sure + 1e-6


@pytest.mark.parametrize("turn", [0.0, 30.0, -60.0, 180.0])
def test_frontality_does_not_depend_on_how_the_head_is_tilted(turn: float) -> None:
    marks = np.array(FRONTAL, np.float32) * [80, 100]
    angle = np.deg2rad(turn)
    tilted = marks @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert frontality(tilted.astype(np.float32), 100) == pytest.approx(
        frontality(marks.astype(np.float32), 100), abs=1e-4
    )


def test_frontality_is_1_in_front_0_in_profile_and_0_without_eyes() -> None:
    scale = np.array([80, 100], np.float32)
    assert frontality(np.array(FRONTAL, np.float32) * [100, 100], 95) > 0.95
    assert frontality(np.array(PROFILE, np.float32) * scale, 100) == 0
    assert frontality(np.zeros((5, 2), np.float32), 100) == 0


@pytest.mark.parametrize("profile", ["cpu", "permissive"])
def test_the_two_men_of_the_photo_are_of_about_their_age_and_none_is_a_woman(
    weights: Callable[[str], Path], tmp_path: Path, profile: str
) -> None:
    """As a clip through the whole way: persons, faces, tracks, estimate. The one on the left, 41, is seen in near
    profile, from which his gender may stay unknown; the one on the right, 54, looks into the camera."""
    path = write_still(tmp_path / "zidane.mp4", photo(weights("photo-zidane")), seconds=3)
    table = detect_people(
        sample_frames(path), probe(path), detector=models.detector(profile), face_detector=models.face_detector(profile)
    )
    found = estimate_demographics(path, table, attribute_model=models.attribute_model(profile)).set_index("track")
    persons = table[table["kind"] == "person"].groupby("track")["x1"].mean()
    assert len(found) == 2
    left, right = found.loc[persons.idxmin()], found.loc[persons.idxmax()]
    assert left["age_low"] <= 41 <= left["age_high"]
    assert right["age_low"] <= 54 <= right["age_high"]
    assert left["gender"] in {"male", "unknown"}
    assert right["gender"] == "male"
    assert right["age_confidence"] > left["age_confidence"]


def test_faces_of_the_aisle_are_too_small_to_tell(footage: Path) -> None:
    path = footage / "store-aisle-detection.gif"
    table = detect_people(
        sample_frames(path), probe(path), detector=models.detector("cpu"), face_detector=models.face_detector("cpu")
    )
    found = estimate_demographics(path, table, attribute_model=models.attribute_model("cpu"))
    assert set(found["gender"]) == {"unknown"}
    assert found["age"].isna().all()
    assert all(reason.endswith(("32 needed", "no face seen")) for reason in found["reason"])


@pytest.mark.parametrize("changes", [{"faces": 0}, {"age_error": -1.0}, {"full_face_height": 0.0}])
def test_parameters_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        DemographicsParameters(**changes)
