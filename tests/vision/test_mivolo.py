"""MiVOLO: who is cut out of a frame and how, what the network makes of it, and the age and gender of a track."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from sentinel_assets.vision.demographics import DemographicsParameters, estimate_demographics
from sentinel_assets.vision.frames import probe
from sentinel_assets.vision.models.face_body import (
    Pair,
    body_crop,
    crops_of,
    face_crop,
    letterboxed,
    matched,
    painted_body,
    pairs_of,
)
from sentinel_assets.vision.models.mivolo import AgeScale, Mivolo, network_input, normalised
from sentinel_assets.vision.models.mivolo_network import CrossAttention, RelativePositions, VoloSize, mivolo_network
from sentinel_assets.vision.protocols import Attributes, Image, PersonCrop, Scene
from sentinel_assets.vision.tables import DEMOGRAPHICS, DETECTIONS, Sampling
from tests.builders.networks import SMALL_VOLO, write_mivolo
from tests.builders.oracles import made_checkpoint, scene_of
from tests.builders.photos import photo

LEVEL = 0 if cv2.__version__.startswith("5.") else 1
"""Grey levels by which a crop may differ from the reference's, which another OpenCV made."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Mivolo:
    return Mivolo(write_mivolo(tmp_path_factory.mktemp("weights") / "model.pth.tar"), size=SMALL_VOLO)


def grey(height: int = 400, width: int = 600, value: int = 100) -> Image:
    return np.full((height, width, 3), value, np.uint8)


def scene(*persons: tuple[float, ...], faces: tuple[tuple[float, ...], ...] = (), image: Image | None = None) -> Scene:
    return Scene(
        grey() if image is None else image,
        np.array(persons, np.float32).reshape(-1, 4),
        np.array(faces, np.float32).reshape(-1, 4),
    )


ONE, TWO = (100, 50, 200, 350), (180, 50, 280, 350)
FACE_OF_ONE, FACE_OF_TWO = (120, 60, 160, 110), (220, 60, 260, 110)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(scene(ONE, TWO, faces=(FACE_OF_TWO, FACE_OF_ONE)), {0: 1, 1: 0}, id="each has one"),
        pytest.param(scene(ONE, faces=(FACE_OF_TWO,)), {}, id="outside of everybody"),
        pytest.param(scene(ONE, faces=(FACE_OF_ONE, (121, 61, 160, 110))), {0: 0}, id="a person has one face at most"),
        # Greedily the first face would take the second person, and the second face would have nobody.
        pytest.param(
            scene(ONE, TWO, faces=((175, 60, 205, 100), (230, 60, 260, 110))),
            {0: 0, 1: 1},
            id="by the total, not by turns",
        ),
        pytest.param(scene(ONE, faces=((120, 60, 120, 110),)), {}, id="a face without area"),
        pytest.param(scene(faces=(FACE_OF_ONE,)), {}, id="nobody there"),
    ],
)
def test_faces_are_matched_with_persons(given: Scene, expected: dict[int, int]) -> None:
    assert matched(given) == expected


@pytest.mark.parametrize(
    ("faces", "bodies", "expected"),
    [
        (True, True, [Pair(1, 0), Pair(0, None), Pair(None, 1)]),
        (True, False, [Pair(0, None), Pair(1, None)]),
        (False, True, [Pair(None, 0), Pair(None, 1)]),
    ],
)
def test_the_rows_of_a_scene_are_in_the_references_order(faces: bool, bodies: bool, expected: list[Pair]) -> None:
    given = scene(ONE, (400, 50, 500, 350), faces=((300, 60, 340, 110), FACE_OF_ONE))
    assert pairs_of(given, use_faces=faces, use_bodies=bodies) == expected


def painted(given: Scene) -> np.ndarray[Any, np.dtype[np.bool_]]:
    crop = painted_body(given, 0)
    assert crop is not None
    return np.asarray((crop == 0).all(axis=2))


def test_the_own_face_is_painted_out_of_the_body() -> None:
    black = painted(scene(ONE, faces=(FACE_OF_ONE,)))
    assert black[10:60, 20:60].all()
    assert black.sum() == 50 * 40


def test_another_person_is_painted_out_to_the_edges_that_are_near() -> None:
    # 20 px at the right, 30 px at the top: both less than 30 % of the crop. At the left and below more remains.
    black = painted(scene(ONE, (150, 80, 180, 200)))
    assert black[0:150, 50:100].all()
    assert black.sum() == 150 * 50
    # A face is painted as it is.
    assert painted(scene(ONE, faces=((150, 80, 180, 200),))).sum() == 120 * 30


def test_boxes_are_cut_not_rounded_and_end_before_the_last_row_and_column() -> None:
    image = grey()
    image[50:, 101:] = 200
    given = Scene(image, np.array([[100.9, 50.9, 200.9, 250.9]], np.float32), np.zeros((0, 4), np.float32))
    crop = painted_body(given, 0)
    assert crop is not None
    assert crop.shape == (200, 100, 3)
    assert (crop[:, 0] == 100).all()
    at_the_edge = painted_body(scene((500, 300, 700, 500)), 0)
    assert at_the_edge is not None
    assert at_the_edge.shape == (99, 99, 3)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(scene((100, 50, 149, 350)), id="narrow"),
        pytest.param(scene((100, 50, 200, 99)), id="low"),
        pytest.param(scene(ONE, (100, 50, 200, 240)), id="hidden by another"),
        pytest.param(scene(ONE, image=grey(value=0)), id="black"),
    ],
)
def test_a_body_that_hardly_shows_is_missing(given: Scene) -> None:
    assert body_crop(given, 0, 224) is None


def test_a_face_without_area_in_the_frame_is_missing() -> None:
    assert face_crop(scene(faces=((700, 10, 720, 30),)), 0, 224) is None
    assert face_crop(scene(faces=((10, 10, 10, 30),)), 0, 224) is None


@pytest.mark.parametrize(
    ("height", "width", "top", "left", "bottom", "right"),
    [
        (300, 91, 0, 78, 224, 146),
        (83, 257, 76, 0, 148, 224),
        (50, 50, 0, 0, 224, 224),  # enlarged
        (224, 224, 0, 0, 224, 224),
        (600, 1, 0, 111, 224, 112),  # a strip that would come to nothing
    ],
)
def test_a_crop_is_letterboxed_on_black(height: int, width: int, top: int, left: int, bottom: int, right: int) -> None:
    boxed = letterboxed(grey(height, width), 224)
    expected = np.zeros((224, 224, 3), np.uint8)
    expected[top:bottom, left:right] = 100
    assert np.array_equal(boxed, expected)


def test_what_is_missing_is_black_before_it_is_normalised_and_the_face_comes_first() -> None:
    face = PersonCrop(grey(32, 32, 255), None)
    given = network_input(face, 32)
    assert given.shape == (6, 32, 32)
    assert given[:3, 0, 0] == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-4)
    assert given[3:, 0, 0] == pytest.approx([-2.1179, -2.0357, -1.8044], abs=1e-4)


def test_ages_are_decoded_with_the_files_own_scale() -> None:
    assert AgeScale(1, 95, 48).years(np.array([0.0, 0.1234, -0.8], np.float32)) == pytest.approx([48, 59.6, -27.2])
    assert AgeScale(21, 95, 60.5).years(np.array([0.1], np.float32)) == pytest.approx([67.9])


def test_gender_is_of_the_first_two_numbers_and_male_comes_first(small: Mivolo) -> None:
    ages, male = small.decoded(np.array([[2, 0, 9], [0, 2, -9]], np.float32))
    assert male == pytest.approx([0.8808, 0.1192], abs=1e-4)
    assert ages == pytest.approx([894, -798])


def test_relative_positions_are_those_of_their_definition() -> None:
    """Against the definition written as loops: q · width_rel[column of key - column of query], and rows alike."""
    positions = RelativePositions(5, 3)
    q = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = positions(q)
        for query in range(9):
            for key in range(9):
                down, across = key // 3 - query // 3 + 2, key % 3 - query % 3 + 2
                expected = q[:, query] @ (positions.height_rel[down] + positions.width_rel[across])
                assert torch.allclose(found[:, query, key], expected, atol=1e-6)


def test_each_of_face_and_body_asks_the_other() -> None:
    """With an identity behind it, the first half of the fusion depends on the body's values and not on the face's."""
    attention = CrossAttention(4, 2)
    seen: list[torch.Tensor] = []
    attention.norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    generator = torch.Generator().manual_seed(0)
    face, body = (torch.randn(1, 4, 2, 2, generator=generator) for _ in range(2))
    with torch.inference_mode():
        attention.qkv_f.weight[:8] = 0  # nobody prefers any patch
        attention.qkv_p.weight[:8] = 0
        attention.pos_embed.height_rel[:] = 0
        attention.pos_embed.width_rel[:] = 0
        attention(face, body)
        body_values, face_values = attention.qkv_p(body)[:, 8:], attention.qkv_f(face)[:, 8:]
    expected = torch.cat([v.mean(dim=(2, 3), keepdim=True).expand(1, 4, 2, 2) for v in (body_values, face_values)], 1)
    assert torch.allclose(seen[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("manifest", "with_bodies"), [("mivolo", True), ("mivolo_face_only", False)], ids=["face and body", "face"]
)
def test_the_state_dict_is_the_published_one(oracle: Path, manifest: str, with_bodies: bool) -> None:
    published = json.loads((oracle / "manifests" / f"{manifest}.json").read_text())["state_dict"]
    with torch.device("meta"):
        network = mivolo_network(VoloSize(), with_bodies=with_bodies, outputs=3)
    ours = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert ours == {entry["key"]: entry["shape"] for entry in published}


def test_nobody_is_estimated_of_whom_nothing_shows(small: Mivolo) -> None:
    given = scene(ONE, (300, 50, 320, 350), faces=(FACE_OF_ONE,))
    crops = small.crop(given, [0, 1, 0])
    first, second, third = small.estimate_crops(crops)
    assert second is None
    assert first is not None
    assert third is not None
    assert first.male == pytest.approx(third.male, abs=1e-6)  # the place in the batch is of no account
    assert first.age_error == 4.24
    (alone,) = small.estimate_crops(crops[:1])
    assert alone is not None
    assert alone.male == pytest.approx(first.male, abs=1e-6)
    (body,) = small.estimate_crops([PersonCrop(None, crops[0].body)])
    assert body is not None
    assert body.age_error == 6.87
    assert body.age_confidence < first.age_confidence


def test_a_model_of_faces_alone_knows_nothing_of_a_body(tmp_path: Path) -> None:
    model = Mivolo(write_mivolo(tmp_path / "model.pth.tar", with_bodies=False), size=SMALL_VOLO)
    face, body = grey(32, 32), grey(32, 32, 50)
    seen, unseen = model.estimate_crops([PersonCrop(face, body), PersonCrop(None, body)])
    assert seen is not None
    assert seen.age_error == 5.58
    assert unseen is None


def test_a_checkpoint_without_gender_gives_none(tmp_path: Path) -> None:
    model = Mivolo(write_mivolo(tmp_path / "model.pth.tar", outputs=1), size=SMALL_VOLO)
    (found,) = model.estimate_crops([PersonCrop(grey(32, 32), None)])
    assert found is not None
    assert (found.male, found.gender_confidence) == (0.5, 0)


class Says:
    """A model of persons whose answers are given; it notes what it is shown."""

    name = "says"

    def __init__(self, *answers: Attributes | None) -> None:
        self.answers = list(answers)
        self.crops: list[PersonCrop] = []

    def crop(self, scene: Scene, asked: list[int]) -> list[PersonCrop]:
        return crops_of(scene, [Pair(0 if len(scene.faces) else None, person) for person in asked], 32)

    def estimate_crops(self, crops: list[PersonCrop]) -> list[Attributes | None]:
        self.crops += crops
        return [None if crop.is_empty else self.answers.pop(0) for crop in crops]


def sighted(sample: int, kind: str, box: tuple[float, ...], confidence: float = 0.9) -> dict[str, Any]:
    where = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
    about = {"sample": sample, "time_s": float(sample), "kind": kind, "track": 1, "confidence": confidence}
    return {**about, **where, "source": "test", "landmarks": None}


def detections(clip: Path, *rows: dict[str, Any]) -> pd.DataFrame:
    about = probe(clip)
    table = DETECTIONS.frame(list(rows))
    times = tuple(float(sample) for sample in sorted({row["sample"] for row in rows}))
    table.attrs["sampling"] = Sampling(about.width, about.height, about.duration_s, 1.0, times).to_json()
    return table


BODY = (100, 50, 300, 350)


def attributes(age: float, error: float = 4.24) -> Attributes:
    return Attributes(age, 0.9, 0.9, 0.8, error)


def estimated(clip: Path, model: Any, *rows: dict[str, Any]) -> dict[str, Any]:
    table = estimate_demographics(clip, detections(clip, *rows), attribute_model=model)
    DEMOGRAPHICS.conform(table)
    return dict(table.iloc[0])


def test_the_best_three_faces_of_a_track_are_used_and_their_spread_widens_the_range(people: Path) -> None:
    model = Says(attributes(30), attributes(34), attributes(32))
    heights = [60, 40, 80, 70]
    rows = [sighted(sample, "person", BODY) for sample in range(4)]
    rows += [sighted(sample, "face", (120, 60, 150, 60 + height)) for sample, height in enumerate(heights)]
    found = estimated(people, model, *rows)
    assert len(model.crops) == found["faces_used"] == 3
    assert found["age"] == 32
    assert found["age_high"] - found["age"] > 4.24
    assert found["gender"] == "male"
    assert 0 < found["age_confidence"] < 0.9


def test_bodies_are_looked_at_where_no_face_is_usable(people: Path) -> None:
    model = Says(*(attributes(30, 6.87) for _ in range(3)))
    rows = [sighted(sample, "person", BODY) for sample in range(3)]
    found = estimated(people, model, *rows, sighted(0, "face", (120, 60, 130, 74)))
    assert [crop.face for crop in model.crops] == [None] * 3
    assert found["faces_used"] == 0
    assert found["age"] == 30
    assert found["age_high"] == pytest.approx(36.87, abs=0.01)


def test_who_shows_neither_face_nor_body_is_unknown_with_the_reason(people: Path) -> None:
    found = estimated(people, Says(), sighted(0, "person", (100, 50, 130, 90)))
    assert found["gender"] == "unknown"
    assert pd.isna(found["age"])
    assert found["reason"] == "no face seen, and the body is small or hidden"


def test_the_demographics_of_real_frames(small: Mivolo, people: Path) -> None:
    """A network with random weights through the stage: the track is known, with its uncertainty."""
    rows = [sighted(sample, "person", BODY) for sample in range(3)]
    parameters = DemographicsParameters(least_age_confidence=0, least_gender_confidence=0)
    table = estimate_demographics(people, detections(people, *rows), attribute_model=small, parameters=parameters)
    DEMOGRAPHICS.conform(table)
    (row,) = table.to_dict("records")
    assert row["gender"] in ("male", "female")
    assert row["age_low"] <= row["age"] <= row["age_high"]


def test_the_letterbox_and_normalisation_of_the_reference(oracle: Path) -> None:
    golden = np.load(oracle / "goldens" / "mivolo.npz")
    boxed = letterboxed(photo(oracle / "data" / "tall.png"), 224)
    assert np.abs(boxed[..., ::-1].astype(int) - golden["lb/tall"]).max() <= LEVEL
    assert np.abs(normalised(golden["lb/tall"][..., ::-1]) - golden["prep/tall"][0]).max() < 1e-6
    assert network_input(PersonCrop(None, None), 224)[:3, 0, 0] == pytest.approx(golden["prep/None"][0], abs=1e-7)


@pytest.mark.parametrize("case", ["scene720/A", "scene720/B"])
def test_the_crops_and_rows_of_the_reference(oracle: Path, case: str) -> None:
    golden = np.load(oracle / "goldens" / "mivolo.npz")
    told = json.loads((oracle / "goldens" / "mivolo.json").read_text())["cases"][f"{case}/both"]
    given, persons, faces = scene_of(oracle, case)
    pairs = pairs_of(given)
    assert [None if pair.face is None else faces[pair.face] for pair in pairs] == told["faces_inds"]
    assert [None if pair.person is None else persons[pair.person] for pair in pairs] == told["bodies_inds"]
    rows = np.stack([network_input(crop, 224) for crop in crops_of(given, pairs, 224)])
    assert np.abs(rows - golden[f"s/{case}/both/x"]).max() <= (1e-6 if LEVEL == 0 else 0.02)


@pytest.mark.drill
def test_the_answers_of_the_reference(oracle: Path, tmp_path: Path) -> None:
    """With the reference's seeded weights: the logits of given rows, and of scenes in all modes, to 1e-4."""
    golden = np.load(oracle / "goldens" / "mivolo.npz")
    cases = json.loads((oracle / "goldens" / "mivolo.json").read_text())["cases"]
    model = Mivolo(made_checkpoint(oracle, "mivolo", tmp_path))
    for case, told in cases.items():
        name, mode = case.rsplit("/", 1)
        given, persons, faces = scene_of(oracle, name)
        pairs = pairs_of(given, use_faces=mode != "body_only", use_bodies=mode != "face_only")
        numbers = np.stack(model.infer(crops_of(given, pairs, model.side)))
        assert np.abs(numbers - golden[f"s/{case}/y"]).max() < 1e-4, case
        ages, male = model.decoded(numbers)
        for pair, age, likely in zip(pairs, ages, male, strict=True):
            for place in [faces.get(pair.face), persons.get(pair.person)]:  # type: ignore[arg-type]
                if place is not None:
                    assert age == pytest.approx(told["ages"][place], abs=0.011)
                    assert ("male" if likely > 0.5 else "female") == told["genders"][place]
                    assert max(likely, 1 - likely) == pytest.approx(told["gender_scores"][place], abs=1e-4)
