"""YOLO of Ultralytics (code and weights AGPL-3.0) as a detector of persons."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sentinel_assets.vision.models.ultralytics_loader import load_yolo
from sentinel_assets.vision.protocols import Boxes, Floats, Image

IMAGE_SIZE = 640
"""Input side, px, that the weights were trained at. AP50 .954 on PETS2009 S2.L1 (people 55-112 px tall in 768x576)."""

LARGE_IMAGE = 960
"""Images whose longer side exceeds this are looked at with this side, at 2.25 times the cost. Of 8 people 65 px tall in
1280x720, YOLOv8n finds 4 at 640, all at 960; of 8 that are 97 px tall, 6 and all."""

CONFIDENCE = 0.25
"""Ultralytics' own default. Boxes below it are nobody."""

SAME_PERSON = 0.5
"""Intersection over union from which two boxes are one person. Ultralytics' .7 leaves one who sits as two, with legs
and without; people who overlap by half in a picture of a shop are rarer than that."""

_PERSON = "person"


class YoloPersonDetector:
    """Persons by a YOLO that knows the class person (a `Detector`). YOLOv8n misses 43 % of those who lie: unite it with
    MoveNet.

    What is found in an image does not depend on the others of its batch: only images of one shape share a call, because
    ultralytics pads a mixed batch to squares, which changes what it finds. `image_size` None: 640 for images of up to
    960 px, 960 for larger ones.
    """

    def __init__(
        self, weights: Path, *, name: str = "yolov8n", confidence: float = CONFIDENCE, image_size: int | None = None
    ) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1")
        if image_size is not None and (image_size < 32 or image_size % 32):
            raise ValueError(f"image_size is {image_size}, expected a positive multiple of 32")
        self.name = name
        self._yolo = load_yolo(weights, task="detect", classes=(_PERSON,))
        self._person = next(index for index, name in self._yolo.names.items() if name == _PERSON)
        self._confidence = confidence
        self._image_size = image_size
        self._lock = threading.Lock()  # predict() keeps the batch in the predictor

    def detect(self, images: Sequence[Image]) -> list[Boxes]:
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise ValueError(f"an image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
            by_shape[image.shape].append(index)
        found = [Boxes.none()] * len(images)
        for indices in by_shape.values():
            for index, boxes in zip(indices, self._predict([images[i] for i in indices]), strict=True):
                found[index] = boxes
        return found

    def _predict(self, images: list[Image]) -> list[Boxes]:
        with self._lock:
            results = self._yolo.predict(
                [np.ascontiguousarray(image[..., ::-1]) for image in images],  # R, G, B -> B, G, R
                imgsz=self._image_size or _image_size(images[0]),
                conf=self._confidence,
                iou=SAME_PERSON,
                classes=[self._person],
                verbose=False,
                save=False,
            )
        return [Boxes(_floats(r.boxes.xyxy), _floats(r.boxes.conf)) for r in results]


def _image_size(image: Image) -> int:
    return IMAGE_SIZE if max(image.shape[:2]) <= LARGE_IMAGE else LARGE_IMAGE


def _floats(tensor: object) -> Floats:
    return np.asarray(tensor.cpu().numpy(), np.float32)  # type: ignore[attr-defined]
