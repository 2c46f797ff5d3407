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
"""Input side, px, that the weights were trained at. AP50 .954 on PETS2009 S2.L1 (people 55-112 px tall in 768x576);
1280 brings .958 at four times the cost."""

CONFIDENCE = 0.25
"""Ultralytics' own default. Boxes below it are nobody."""

_PERSON = "person"


class YoloPersonDetector:
    """Persons by a YOLO that knows the class person (a `Detector`). YOLOv8n misses 43 % of those who lie: unite it with
    MoveNet.

    What is found in an image does not depend on the others of its batch: only images of one shape share a call, because
    ultralytics pads a mixed batch to squares, which changes what it finds.
    """

    def __init__(
        self, weights: Path, *, name: str = "yolov8n", confidence: float = CONFIDENCE, image_size: int = IMAGE_SIZE
    ) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1")
        if image_size < 32 or image_size % 32:
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
                imgsz=self._image_size,
                conf=self._confidence,
                classes=[self._person],
                verbose=False,
                save=False,
            )
        return [Boxes(_floats(r.boxes.xyxy), _floats(r.boxes.conf)) for r in results]


def _floats(tensor: object) -> Floats:
    return np.asarray(tensor.cpu().numpy(), np.float32)  # type: ignore[attr-defined]
