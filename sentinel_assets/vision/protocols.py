"""What a model must be able to do to take a place in the analysis. All of them take batches.

An image is an array of shape (H, W, 3), dtype uint8, channels R, G, B. Coordinates that a model returns are pixels
of the image that it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


JOINED = "+"
"""Between the names of models that act, or that saw something, together."""


@dataclass(frozen=True)
class Boxes:
    """N boxes in one image: `xyxy` (N, 4) px, `confidence` (N,) in [0, 1].

    `source`, where several models looked: which of them saw each box, joined by JOINED; empty where one looked.
    """

    xyxy: Floats
    confidence: Floats
    source: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.xyxy.shape != (len(self.confidence), 4):
            raise ValueError(f"xyxy is {self.xyxy.shape}, expected ({len(self.confidence)}, 4)")
        if self.source and len(self.source) != len(self.confidence):
            raise ValueError(f"{len(self.source)} sources, expected {len(self.confidence)} or none")

    def __len__(self) -> int:
        return len(self.confidence)

    @classmethod
    def none(cls) -> Boxes:
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class Faces:
    """N faces in one image: boxes, and `landmarks` (N, 5, 2) px: left eye, right eye, nose, left and right corner of
    the mouth, left and right as seen in the image. A detector that knows no landmarks gives NaN."""

    boxes: Boxes
    landmarks: Floats

    def __post_init__(self) -> None:
        if self.landmarks.shape != (len(self.boxes), 5, 2):
            raise ValueError(f"landmarks are {self.landmarks.shape}, expected ({len(self.boxes)}, 5, 2)")

    @classmethod
    def without_landmarks(cls, boxes: Boxes) -> Faces:
        return cls(boxes, np.full((len(boxes), 5, 2), np.nan, np.float32))


@dataclass(frozen=True)
class People:
    """The persons and the faces in one image, as one model saw both; whose face each is, it does not say."""

    persons: Boxes
    faces: Faces


@dataclass(frozen=True)
class FaceCrop:
    """A face to estimate: the image it is in, its box (4,) and landmarks (5, 2), px of that image."""

    image: Image
    box: Floats
    landmarks: Floats


@dataclass(frozen=True)
class Scene:
    """A frame with all who were found in it: boxes of persons (N, 4) and of faces (M, 4), px of the image."""

    image: Image
    persons: Floats
    faces: Floats

    def __post_init__(self) -> None:
        for name in ("persons", "faces"):
            if getattr(self, name).ndim != 2 or getattr(self, name).shape[1] != 4:
                raise ValueError(f"{name} are {getattr(self, name).shape}, expected (N, 4)")


@dataclass(frozen=True)
class PersonCrop:
    """What a model gets to see of a person: face and body, each cut out and scaled to the model's input; None for what
    does not show, or not well enough. `face_index` is the face's place in the scene."""

    face: Image | None
    body: Image | None
    face_index: int | None = None

    @property
    def is_empty(self) -> bool:
        return self.face is None and self.body is None


@dataclass(frozen=True)
class Attributes:
    """Age in years and the probability that the face is a man's; each confidence in [0, 1].

    `age_error`, years: how far the model errs on average with what it was shown; None where it does not say.
    """

    age: float
    age_confidence: float
    male: float
    gender_confidence: float
    age_error: float | None = None


@dataclass(frozen=True)
class Pose:
    """17 COCO keypoints (17, 3): x, y px and score in [0, 1]; `confidence` of the person as a whole."""

    keypoints: Floats
    confidence: float

    def __post_init__(self) -> None:
        if self.keypoints.shape != (17, 3):
            raise ValueError(f"keypoints are {self.keypoints.shape}, expected (17, 3)")


@dataclass(frozen=True)
class Direction:
    """Where a body faces: `degrees` in [0, 360), as `orientation.py` counts them, and `confidence` in [0, 1]."""

    degrees: float
    confidence: float


@dataclass(frozen=True)
class BodyView:
    """A person to look at: the image, and the person's box (4,) px in it."""

    image: Image
    box: Floats


@dataclass(frozen=True)
class OrientedPose:
    """A person's keypoints, and where the body faces as the model itself sees it."""

    pose: Pose
    direction: Direction


@dataclass(frozen=True)
class EventFacts:
    """All that was measured of one event, for a describer: what, when, who, and how sure.

    `images` may hold key frames of the event (RGB, upright), for describers that look; grounded ones ignore them.
    """

    event_key: str
    behavior: str
    start_s: float
    end_s: float
    confidence: float
    track: int
    other_track: int | None = None
    age_low: float | None = None
    age_high: float | None = None
    gender: str = "unknown"
    orientation: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    images: tuple[Image, ...] = ()
    people_in_view: int | None = None
    """How many people were found in the part of the frames that the images show; None where there are no images."""


@dataclass(frozen=True)
class Description:
    """A sentence on one event; `grounded` when every word of it comes from measured facts.

    `writer` names who wrote it where that was not the describer itself, and `remark` says why.
    """

    text: str
    language: str
    grounded: bool
    writer: str = ""
    remark: str = ""


class Detector(Protocol):
    """Finds persons."""

    name: str

    def detect(self, images: Sequence[Image]) -> list[Boxes]: ...


class FaceDetector(Protocol):
    """Finds faces, in an image that shows at most a few people closely."""

    name: str

    def detect(self, images: Sequence[Image]) -> list[Faces]: ...


@runtime_checkable
class PeopleDetector(Protocol):
    """Finds persons and faces in one pass: where there is one, no face detector is asked."""

    name: str

    def detect_people(self, images: Sequence[Image]) -> list[People]: ...


class AttributeModel(Protocol):
    """Estimates age and gender of faces."""

    name: str

    def estimate(self, faces: Sequence[FaceCrop]) -> list[Attributes]: ...


@runtime_checkable
class PersonAttributeModel(Protocol):
    """Estimates age and gender of persons by face and body.

    `crop` cuts the asked persons (places in `Scene.persons`) out of their frame; `estimate` takes the crops of any
    number of frames, and gives None for one that is empty.
    """

    name: str

    def crop(self, scene: Scene, asked: Sequence[int]) -> list[PersonCrop]: ...

    def estimate_crops(self, crops: Sequence[PersonCrop]) -> list[Attributes | None]: ...


class PoseModel(Protocol):
    """Finds all poses in each image; callers associate them with the person they asked about."""

    name: str

    def estimate(self, images: Sequence[Image]) -> list[list[Pose]]: ...


@runtime_checkable
class BodyModel(Protocol):
    """Finds keypoints and orientation of the person in a box. It must see `surroundings` of the box's longer side
    around it, as far as the frame reaches."""

    name: str
    surroundings: float

    def estimate_bodies(self, views: Sequence[BodyView]) -> list[OrientedPose]: ...


class Describer(Protocol):
    """Puts events into sentences."""

    name: str

    def describe(self, events: Sequence[EventFacts]) -> list[Description]: ...


@runtime_checkable
class LookingDescriber(Describer, Protocol):
    """A describer that is to be shown `key_frames` pictures of each event, 1 or 3 (see `key_frames.py`)."""

    key_frames: int


class TextEncoder(Protocol):
    """Turns text into vectors of unit norm; queries and passages may be encoded differently."""

    name: str
    dimension: int

    def encode_passages(self, texts: Sequence[str]) -> Floats: ...

    def encode_queries(self, texts: Sequence[str]) -> Floats: ...
