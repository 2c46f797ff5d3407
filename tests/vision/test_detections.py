"""People and faces in real frames, joined to tracks: the counts are what a person counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from sentinel_assets import models
from sentinel_assets.vision.detections import DetectionParameters, assign_faces, detect_people
from sentinel_assets.vision.frames import Clip, Frame, probe, sample_frames
from sentinel_assets.vision.protocols import Boxes, Faces, Image
from sentinel_assets.vision.tables import DETECTIONS, Sampling

PROFILES = [pytest.param("cpu"), pytest.param("permissive")]


def detected(path: Path, profile: str, rate_hz: float = 1.0) -> pd.DataFrame:
    table = detect_people(
        sample_frames(path, rate_hz),
        probe(path),
        detector=models.detector(profile),
        face_detector=models.face_detector(profile),
    )
    DETECTIONS.conform(table)
    return table


def of_kind(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    return table[table["kind"] == kind]


@pytest.mark.parametrize("profile", PROFILES)
def test_three_shoppers_in_the_aisle_are_three_tracks(footage: Path, profile: str) -> None:
    persons = of_kind(detected(footage / "store-aisle-detection.gif", profile), "person")
    assert persons["track"].nunique() == 3
    assert persons.groupby("track").size().max() == 5  # a man and a woman who are there from the first sample on


@pytest.mark.parametrize("profile", PROFILES)
def test_a_man_who_falls_stays_one_person(footage: Path, profile: str) -> None:
    """YOLOv8n alone loses him on the floor, and takes a coat on the wall for a second person."""
    table = detected(footage / "gmdcsa24" / "Subject_2_Fall_12.mp4", profile)
    persons = of_kind(table, "person")
    assert persons["track"].unique().tolist() == [1]
    assert persons["time_s"].max() == pytest.approx(12, abs=0.2)


@pytest.mark.parametrize("rate_hz", [1.0, 5.0])
def test_coats_on_a_wall_are_nobody(footage: Path, rate_hz: float) -> None:
    """Nor are they where they are seen for so long that chance is no reason."""
    persons = of_kind(detected(footage / "gmdcsa24" / "Subject_3_ADL_15.mp4", "cpu", rate_hz), "person")
    assert persons["track"].unique().tolist() == [1]


def test_faces_of_14_px_are_found_in_the_heads_of_their_people(footage: Path) -> None:
    table = detected(footage / "store-aisle-detection.gif", "cpu")
    faces, persons = of_kind(table, "face"), of_kind(table, "person")
    assert len(faces) >= 3
    for face in faces.to_dict("records"):
        owner = persons[(persons["sample"] == face["sample"]) & (persons["track"] == face["track"])].iloc[0]
        middle = (face["x1"] + face["x2"]) / 2, (face["y1"] + face["y2"]) / 2
        assert owner["x1"] < middle[0] < owner["x2"]
        assert owner["y1"] < middle[1] < owner["y1"] + 0.4 * (owner["y2"] - owner["y1"])
        assert len(face["landmarks"]) == 10


# What follows needs no network: detectors that answer from a script, on frames that are arrays.


@dataclass
class Still:
    """A frame as `detect_people` uses it."""

    sample: int
    time_s: float
    image: Image

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        return int(self.image.shape[0])

    def keep(self) -> None:
        pass

    def resized(self, long_side: int) -> Image:
        factor = -(-max(self.image.shape) // long_side)
        return np.ascontiguousarray(self.image[::factor, ::factor])

    def crop(self, x1: float, y1: float, x2: float, y2: float) -> Image:
        return self.image[max(0, int(y1)) : int(np.ceil(y2)), max(0, int(x1)) : int(np.ceil(x2))]


@dataclass
class Scripted:
    """A detector that has its answers ready, one an image."""

    answers: list[Boxes]
    name: str = "scripted"
    sizes: list[int] = field(default_factory=list)

    def detect(self, images: Sequence[Image]) -> list[Boxes]:
        self.sizes.append(len(images))
        return [self.answers.pop(0) for _ in images]


class NoFaces:
    name = "no-faces"

    def detect(self, images: Sequence[Image]) -> list[Faces]:
        return [Faces(Boxes.none(), np.zeros((0, 5, 2), np.float32)) for _ in images]


class OneFace:
    """A face in the upper middle of each image that it is given."""

    name = "one-face"

    def detect(self, images: Sequence[Image]) -> list[Faces]:
        found = []
        for image in images:
            side = float(image.shape[0])
            box = np.array([[0.3, 0.2, 0.5, 0.5]], np.float32) * side
            found.append(Faces(Boxes(box, np.array([0.9], np.float32)), np.full((1, 5, 2), 0.4 * side, np.float32)))
        return found


def stills(count: int, width: int = 320, height: int = 240) -> list[Frame]:
    grey = np.full((height, width, 3), 90, np.uint8)
    return [Still(i, float(i), grey) for i in range(count)]  # type: ignore[misc]


def clip(width: int = 320, height: int = 240, duration_s: float = 10.0) -> Clip:
    return Clip(Path("still"), "", "", width, height, duration_s, 25.0, 0)


def boxes(*xyxy: Sequence[float], confidence: float = 0.9, source: tuple[str, ...] = ()) -> Boxes:
    return Boxes(np.array(xyxy, np.float32).reshape(-1, 4), np.full(len(xyxy), confidence, np.float32), source)


PERSON = (100.0, 40.0, 160.0, 220.0)


def run(answers: list[Boxes], *, name: str = "scripted", **options: object) -> pd.DataFrame:
    detector = Scripted(answers, name)
    frames = stills(len(answers))
    return detect_people(frames, clip(), detector=detector, face_detector=options.get("faces", NoFaces()))  # type: ignore[arg-type]


def test_a_video_without_people_gives_an_empty_table_with_its_samples() -> None:
    table = run([Boxes.none()] * 3)
    assert table.empty
    assert Sampling.of(table).times_s == (0.0, 1.0, 2.0)
    assert Sampling.of(table).rate_hz == 1.0
    DETECTIONS.conform(table)


def test_frames_are_given_to_the_detector_in_batches_and_progress_is_told() -> None:
    detector = Scripted([boxes(PERSON)] * 10)
    told: list[float] = []
    detect_people(
        iter(stills(10)),
        clip(),
        detector=detector,
        face_detector=NoFaces(),
        parameters=DetectionParameters(batch=4),
        on_progress=told.append,
    )
    assert detector.sizes == [4, 4, 2]
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_boxes_are_cut_at_the_edges_of_the_frame() -> None:
    row = run([boxes((-20, -10, 400, 300))]).iloc[0]
    assert (row.x1, row.y1, row.x2, row.y2) == (0, 0, 320, 240)


def test_a_box_outside_of_the_frame_is_nobody() -> None:
    assert run([boxes((400, 10, 450, 100), (-30, 10, 0.4, 100))]).empty


def test_large_frames_are_shrunk_for_the_detector_and_boxes_brought_back() -> None:
    frames = stills(1, width=2560, height=1440)
    table = detect_people(
        frames, clip(2560, 1440), detector=Scripted([boxes((100, 100, 200, 400))]), face_detector=NoFaces()
    )
    assert table.iloc[0][["x1", "y1", "x2", "y2"]].tolist() == [200, 200, 400, 800]


def test_two_boxes_of_one_person_are_one_row() -> None:
    table = run([boxes(PERSON, (101, 41, 160, 220))])
    assert len(table) == 1


@pytest.mark.parametrize(
    ("name", "confidences", "source", "step_px", "people"),
    [
        pytest.param("a+b", [0.44, 0.3], ("a",), 20, 0, id="one of two models, twice, unsurely"),
        pytest.param("a+b", [0.44, 0.6], ("a",), 20, 1, id="sure once"),
        pytest.param("a+b", [0.44, 0.3], ("a+b",), 0, 1, id="both models saw it"),
        pytest.param("a+b", [0.44], ("a+b",), 0, 0, id="both models saw it, once and unsurely"),
        pytest.param("a+b", [0.3] * 4, ("a",), 20, 1, id="unsure, but there for long, and it moves"),
        pytest.param("a+b", [0.63] * 30, ("a",), 0, 0, id="never moves and one of two models sees it: a coat"),
        pytest.param("a+b", [0.63, 0.8], ("a",), 0, 1, id="never moves, but is sure once"),
        pytest.param("b", [0.28, 0.25], (), 0, 1, id="the only model, twice"),
        pytest.param("b", [0.28], (), 0, 0, id="the only model, once and unsurely"),
        pytest.param("b", [0.35], (), 0, 1, id="the only model, once"),
    ],
)
def test_unsure_finds_that_are_brief_or_motionless_are_dropped(
    name: str, confidences: list[float], source: tuple[str, ...], step_px: int, people: int
) -> None:
    x1, y1, x2, y2 = PERSON
    ways = [step_px * i for i in range(len(confidences))]
    answers = [
        boxes((x1 + way, y1, x2 + way, y2), confidence=c, source=source)
        for way, c in zip(ways, confidences, strict=True)
    ]
    assert run(answers, name=name)["track"].nunique() == people


def test_tracks_are_numbered_from_1_without_gaps() -> None:
    coat = boxes((10, 40, 70, 220), confidence=0.3, source=("a",))
    person = boxes(PERSON, source=("a+b",))
    table = run([coat, person, person], name="a+b")
    assert table["track"].unique().tolist() == [1]


def test_each_person_gets_the_face_in_the_own_head() -> None:
    table = run([boxes((10, 20, 90, 220), (200, 20, 280, 220))], faces=OneFace())
    for track, left in ((1, 10), (2, 200)):
        face = table[(table["kind"] == "face") & (table["track"] == track)].iloc[0]
        assert left < face.x1 < face.x2 < left + 80
        assert 10 < face.y1 < face.y2 < 100
        assert face.source == "one-face"


def test_small_people_are_not_searched_for_faces() -> None:
    assert "face" not in set(run([boxes((10, 20, 40, 90))], faces=OneFace())["kind"])


def faces(*xyxy: Sequence[float], score: float = 0.9) -> Faces:
    return Faces(boxes(*xyxy, confidence=score), np.zeros((len(xyxy), 5, 2), np.float32))


@pytest.mark.parametrize(
    ("found", "owners"),
    [
        pytest.param([], [], id="no face"),
        pytest.param([(0, faces((20, 10, 40, 35)))], [0], id="one"),
        # The second person stands half behind the first: the face is in both boxes, in the middle of one.
        pytest.param([(0, faces((70, 10, 90, 35))), (1, faces((70, 10, 90, 35)))], [1], id="seen in two heads"),
        pytest.param([(0, faces((20, 10, 40, 35), (70, 10, 90, 35)))], [0, 1], id="both seen in one head"),
        pytest.param([(0, faces((20, 10, 40, 35), (22, 60, 42, 85)))], [0, -1], id="two in one person"),
        pytest.param([(0, faces((150, 10, 170, 35)))], [-1], id="outside of everybody"),
    ],
)
def test_a_face_belongs_to_one_person_and_a_person_has_one_face(
    found: list[tuple[int, Faces]], owners: list[int]
) -> None:
    persons = boxes((0, 0, 60, 200), (50, 0, 110, 200))
    kept, face_of = assign_faces(persons, found, same_face=0.3)
    assert face_of == owners
    assert len(kept.boxes) == len(owners)


def test_appearance_tells_clothes_apart() -> None:
    from sentinel_assets.vision.detections import _appearances

    def dressed(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> NDArray[np.float32]:
        image = np.full((240, 320, 3), 90, np.uint8)
        image[40:130, 100:160], image[130:220, 100:160] = top, bottom
        return _appearances(Still(0, 0.0, image), boxes(PERSON))[0]  # type: ignore[arg-type]

    red, dimmer = dressed((200, 30, 30), (30, 30, 160)), dressed((180, 27, 27), (27, 27, 150))
    swapped = dressed((30, 30, 160), (200, 30, 30))
    assert np.linalg.norm(red) == pytest.approx(1, abs=1e-5)
    assert red @ dimmer > 0.8
    assert red @ swapped < 0.6


@pytest.mark.parametrize("changes", [{"batch": 0}, {"head_height": -1.0}, {"same_face": float("nan")}])
def test_parameters_that_make_no_sense_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        DetectionParameters(**changes)  # type: ignore[arg-type]
