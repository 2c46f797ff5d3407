"""What a model must be able to do to take a place in the analysis. All of them take batches.

An image is an array of shape (H, W, 3), dtype uint8, channels R, G, B. Coordinates that a model returns are pixels
of the image that it was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

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
    the mouth, left and right as seen in the image."""

    boxes: Boxes
    landmarks: Floats

    def __post_init__(self) -> None:
        if self.landmarks.shape != (len(self.boxes), 5, 2):
            raise ValueError(f"landmarks are {self.landmarks.shape}, expected ({len(self.boxes)}, 5, 2)")


@dataclass(frozen=True)
class FaceCrop:
    """A face to estimate: the image it is in, its box (4,) and landmarks (5, 2), px of that image."""

    image: Image
    box: Floats
    landmarks: Floats


@dataclass(frozen=True)
class Attributes:
    """Age in years and the probability that the face is a man's; each confidence in [0, 1]."""

    age: float
    age_confidence: float
    male: float
    gender_confidence: float


@dataclass(frozen=True)
class Pose:
    """17 COCO keypoints (17, 3): x, y px and score in [0, 1]; `confidence` of the person as a whole."""

    keypoints: Floats
    confidence: float

    def __post_init__(self) -> None:
        if self.keypoints.shape != (17, 3):
            raise ValueError(f"keypoints are {self.keypoints.shape}, expected (17, 3)")


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


@dataclass(frozen=True)
class Description:
    """A sentence on one event; `grounded` when every word of it comes from measured facts."""

    text: str
    language: str
    grounded: bool


class Detector(Protocol):
    """Finds persons."""

    name: str

    def detect(self, images: Sequence[Image]) -> list[Boxes]: ...


class FaceDetector(Protocol):
    """Finds faces, in an image that shows at most a few people closely."""

    name: str

    def detect(self, images: Sequence[Image]) -> list[Faces]: ...


class AttributeModel(Protocol):
    """Estimates age and gender of faces."""

    name: str

    def estimate(self, faces: Sequence[FaceCrop]) -> list[Attributes]: ...


class PoseModel(Protocol):
    """Finds all poses in each image; callers associate them with the person they asked about."""

    name: str

    def estimate(self, images: Sequence[Image]) -> list[list[Pose]]: ...


class Describer(Protocol):
    """Puts events into sentences."""

    name: str

    def describe(self, events: Sequence[EventFacts]) -> list[Description]: ...


class TextEncoder(Protocol):
    """Turns text into vectors of unit norm; queries and passages may be encoded differently."""

    name: str
    dimension: int

    def encode_passages(self, texts: Sequence[str]) -> Floats: ...

    def encode_queries(self, texts: Sequence[str]) -> Floats: ...
