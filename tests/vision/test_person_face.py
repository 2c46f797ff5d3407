"""The detector of persons and faces: its classes are read, its batches change nothing, its faces are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from sentinel_assets.vision.detections import detect_people
from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.frames import probe, sample_frames
from sentinel_assets.vision.models.person_face import PersonFaceDetector
from sentinel_assets.vision.models.ultralytics_loader import load_yolo
from sentinel_assets.vision.protocols import Boxes, Faces, Image, People
from sentinel_assets.vision.tables import DETECTIONS
from tests.builders.networks import person_face, write_person_face
from tests.builders.oracles import made_checkpoint
from tests.builders.photos import photo

LEVEL = 0 if cv2.__version__.startswith("5.") else 1
"""Grey levels by which a picture may differ from the reference's, which another OpenCV made."""


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_person_face(tmp_path_factory.mktemp("weights") / "yolov8x_person_face.pt")


@pytest.fixture(scope="module")
def detector(weights_file: Path) -> PersonFaceDetector:
    return PersonFaceDetector(weights_file, image_size=320)


def pictures(count: int, height: int = 240, width: int = 320) -> list[Image]:
    generator = np.random.default_rng(0)
    coarse = [generator.integers(0, 255, (6, 8, 3), np.uint8) for _ in range(count)]
    return [np.asarray(cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8) for c in coarse]


def same(one: People, other: People) -> bool:
    pairs = [(one.persons, other.persons), (one.faces.boxes, other.faces.boxes)]
    return all(len(a) == len(b) and np.allclose(a.xyxy, b.xyxy, atol=0.5) for a, b in pairs)


def test_both_classes_are_found_in_one_pass(detector: PersonFaceDetector) -> None:
    (found,) = detector.detect_people(pictures(1))
    assert len(found.persons) > 0
    assert len(found.faces.boxes) > 0
    assert np.isnan(found.faces.landmarks).all()
    (persons,) = detector.detect(pictures(1))
    assert np.array_equal(persons.xyxy, found.persons.xyxy)
    assert (found.persons.confidence >= 0.4).all()


def test_an_image_does_not_depend_on_its_batch(detector: PersonFaceDetector) -> None:
    """Also not on one of another shape, for which ultralytics would pad all of them to squares."""
    mixed = [*pictures(2), *pictures(1, 320, 200), *pictures(3)[2:]]
    together = detector.detect_people(mixed)
    for image, found in zip(mixed, together, strict=True):
        assert same(detector.detect_people([image])[0], found)
    assert detector.detect_people([]) == []


def test_the_classes_are_read_from_the_file(tmp_path: Path, detector: PersonFaceDetector) -> None:
    swapped = PersonFaceDetector(write_person_face(tmp_path / "swapped.pt", {0: "face", 1: "person"}), image_size=320)
    (one,), (other,) = detector.detect_people(pictures(1)), swapped.detect_people(pictures(1))
    assert np.array_equal(one.persons.xyxy, other.faces.boxes.xyxy)
    assert np.array_equal(one.faces.boxes.xyxy, other.persons.xyxy)


@pytest.mark.parametrize(
    "names",
    [{0: "person", 1: "head"}, {0: "person", 1: "face", 2: "hand"}, {0: "person"}],
    ids=["head", "three", "one"],
)
def test_other_classes_are_refused(tmp_path: Path, names: dict[int, str]) -> None:
    with pytest.raises(ModelError, match=r"knows no class face|expected person and face"):
        PersonFaceDetector(write_person_face(tmp_path / "model.pt", names))


class Unpickled:
    """Would make a file, were it unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("what", ["hostile", "state dict", "truncated"])
def test_a_file_that_is_no_such_checkpoint_is_refused(tmp_path: Path, weights_file: Path, what: str) -> None:
    path, ran = tmp_path / "model.pt", tmp_path / "ran"
    if what == "truncated":
        path.write_bytes(weights_file.read_bytes()[:-1000])
    else:
        torch.save({"model": Unpickled(ran) if what == "hostile" else {"x": torch.ones(1)}, "train_args": {}}, path)
    with pytest.raises(ModelError, match="not a checkpoint that ultralytics can load safely"):
        PersonFaceDetector(path)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        pytest.param(lambda c: {"model": c["model"]}, None, id="the network alone"),
        pytest.param(lambda c: {"ema": c["model"]}, None, id="its average alone"),
        pytest.param(lambda c: {**c, "train_args": {**c["train_args"], "imgsz": 1280}}, None, id="another size"),
        pytest.param(lambda c: {"model": c["model"].state_dict()}, "can load safely", id="tensors alone"),
        pytest.param(lambda c: {"model": without_names(c["model"])}, "knows no class", id="classes without names"),
    ],
)
def test_what_the_reference_loads_is_loaded(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], refused: str | None
) -> None:
    """A file without names loads there, too, with 999 made-up ones: in it nobody would ever be found."""
    path = tmp_path / "model.pt"
    torch.save(change(person_face()), path)
    if refused:
        with pytest.raises(ModelError, match=refused):
            PersonFaceDetector(path)
        return
    detector = PersonFaceDetector(path, image_size=320)
    sizes: list[tuple[int, ...]] = []
    detector.detect_people(pictures(1))
    detector.network.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape)))
    detector.detect_people(pictures(1))
    assert sizes == [(1, 3, 256, 320)]  # as asked, whatever size the file names


def without_names(network: torch.nn.Module) -> torch.nn.Module:
    del network.names
    return network


def test_a_batch_that_does_not_fit_is_halved(weights_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    detector = PersonFaceDetector(weights_file, image_size=320, batch=4)
    expected = detector.detect_people(pictures(4))

    def only_two(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if len(given[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    detector.network.register_forward_pre_hook(only_two)
    found = detector.detect_people(pictures(4))
    assert all(same(one, other) for one, other in zip(found, expected, strict=True))
    assert "going on with 2" in caplog.text


class Two:
    """Sees two persons, and the face of the second one and one that is nobody's."""

    name = "two"

    def detect_people(self, images: list[Image]) -> list[People]:
        persons = np.array([[10, 10, 110, 310], [200, 20, 300, 320]], np.float32)
        faces = np.array([[235, 30, 265, 65], [400, 30, 430, 65]], np.float32)
        ones = np.ones(2, np.float32)
        return [People(Boxes(persons, ones), Faces.without_landmarks(Boxes(faces, ones)))] * len(images)


def test_its_faces_are_taken_and_belong_to_persons(people: Path) -> None:
    table = detect_people(sample_frames(people, 1.0), probe(people), detector=Two(), face_detector=None)
    DETECTIONS.conform(table)
    first = table[table["sample"] == 0]
    persons = first[first["kind"] == "person"].set_index("x1")["track"]
    faces = first[first["kind"] == "face"].set_index("x1")["track"]
    assert faces[235] == persons[200]
    assert np.isnan(faces[400])
    assert first["landmarks"].isna().all()
    assert set(table["source"]) == {"two"}


def test_a_face_detector_beside_it_is_a_mistake(people: Path) -> None:
    with pytest.raises(ValueError, match="if, and only if"):
        detect_people([], probe(people), detector=Two(), face_detector=Two())  # type: ignore[arg-type]


def test_the_detections_of_real_frames(detector: PersonFaceDetector, people: Path) -> None:
    table = detect_people(sample_frames(people, 1.0), probe(people), detector=detector, face_detector=None)
    DETECTIONS.conform(table)
    assert set(table["source"]) <= {detector.name}


@dataclass(frozen=True)
class Bus:
    """The reference's picture of a bus, as the published detector with the reference's seeded weights takes it."""

    weights: Path
    golden: Any
    found: People
    shown: torch.Tensor
    """What the network was given."""

    def kinds(self) -> list[tuple[Boxes, np.ndarray]]:
        """Our persons and our faces, each with which of the golden's boxes are of that kind."""
        found = (self.found.persons, self.found.faces.boxes)
        return [(boxes, self.golden["det/bus/cls"] == kind) for kind, boxes in enumerate(found)]


@pytest.fixture(scope="module")
def bus(oracle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bus:
    weights = made_checkpoint(oracle, "yolo", tmp_path_factory.mktemp("published"))
    detector = PersonFaceDetector(weights)
    detector.detect_people([np.zeros((32, 320, 3), np.uint8)])  # builds the network that predicts
    shown: list[torch.Tensor] = []
    detector.network.register_forward_pre_hook(lambda _, given: shown.append(given[0].clone()))
    (found,) = detector.detect_people([photo(oracle / "data" / "bus.png")])
    return Bus(weights, np.load(oracle / "goldens" / "yolo.npz"), found, shown[0])


@pytest.mark.drill
def test_as_many_people_and_faces_as_the_reference_in_the_same_picture(bus: Bus) -> None:
    for boxes, chosen in bus.kinds():
        assert len(boxes) == chosen.sum()
    seen = (bus.shown[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)[..., ::-1]  # B, G, R
    assert seen.shape == tuple(bus.golden["lb/bus/shape"])
    assert np.abs(seen[::4, ::4].astype(int) - bus.golden["lb/bus/stride4"]).max() <= LEVEL


def head(bus: Bus, dtype: torch.dtype) -> np.ndarray[tuple[int, int], np.dtype[Any]]:
    """What the network says of the picture: (6, anchors), as it stands in the file, its norms not yet fused."""
    network = load_yolo(bus.weights, task="detect", classes=("person", "face")).model.to(dtype).eval()
    with torch.inference_mode():
        return np.asarray(network(bus.shown.to(dtype).contiguous())[0][0].numpy())


def away_from_golden(found: np.ndarray[tuple[int, int], np.dtype[Any]], bus: Bus) -> tuple[float, float]:
    """By how much at most: boxes in px, scores."""
    golden = bus.golden["raw/bus/every37"]
    assert found.shape == tuple(bus.golden["raw/bus/shape"][1:])
    every = np.abs(found[:, ::37] - golden)
    most = np.abs(found[4:].max(axis=1) - bus.golden["raw/bus/score_max"])
    return float(every[:4].max()), float(max(every[4:].max(), most.max()))


@pytest.mark.drill
def test_the_head_of_the_reference(bus: Bus) -> None:
    """In double precision, so that what differs is the golden's own single precision, and nothing of ours."""
    px, score = away_from_golden(head(bus, torch.float64), bus)
    assert px / 640 < 1e-4
    assert score < 1e-4


@pytest.mark.drill
@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512" or torch.get_num_threads() not in range(2, 7),
    reason="another processor or another number of threads adds up in another order, in single precision",
)
def test_the_head_of_the_reference_in_single_precision(bus: Bus) -> None:
    """On a processor like the reference's they are equal; what is asked is what the oracle says of itself."""
    px, score = away_from_golden(head(bus, torch.float32), bus)
    assert px < 1e-3
    assert score < 1e-5


def boxes_away_from_golden(bus: Bus) -> tuple[float, float]:
    """By how much at most: boxes as a part of the picture's longer side, scores."""
    pairs = bus.kinds()
    golden = bus.golden
    xyxy = max(float(np.abs(boxes.xyxy - golden["det/bus/xyxy"][chosen]).max()) for boxes, chosen in pairs)
    scores = max(float(np.abs(boxes.confidence - golden["det/bus/conf"][chosen]).max()) for boxes, chosen in pairs)
    return xyxy / 1080, scores


@pytest.mark.drill
def test_the_boxes_of_the_reference_but_for_its_rounding(bus: Bus) -> None:
    """The oracle's boxes and its head, of one network and one picture, differ as much from each other."""
    px, score = boxes_away_from_golden(bus)
    assert px < 3e-4
    assert score < 3e-4


@pytest.mark.drill
def test_no_boxes_can_be_closer_than_the_oracle_is_to_itself(bus: Bus) -> None:
    """Why the bound below is out of reach: for one anchor, the golden's head and its boxes say two scores."""
    scores = bus.golden["raw/bus/every37"][4:].max(axis=0)
    clear = scores[scores > 0.41]
    apart = np.abs(clear[:, None] - bus.golden["det/bus/conf"][None]).min(axis=1)
    assert len(clear)
    assert apart.max() > 1e-4


@pytest.mark.drill
@pytest.mark.xfail(
    reason="the golden's boxes are 0.14 px and 0.0002 from the same network in double precision, and 0.0002 from the "
    "golden of its own head: no network can be within 0.0001 of both"
)
def test_the_boxes_of_the_reference(bus: Bus) -> None:
    px, score = boxes_away_from_golden(bus)
    assert px < 1e-4
    assert score < 1e-4
