"""YOLOv8x as the authors of MiVOLO trained it: persons and faces in one pass.

The code that runs it is AGPL-3.0, and by Ultralytics' claim the weights are too; their authors' own licence is added.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.ultralytics_loader import load_yolo
from sentinel_assets.vision.protocols import Boxes, Faces, Floats, Image, People

PERSON, FACE = "person", "face"

IMAGE_SIZE = 640
"""Longer side of the input, px. Always given: a checkpoint may hold another one, which ultralytics would take."""

CONFIDENCE = 0.4
SAME = 0.7
"""Least score, and the IoU from which two boxes of a class are one: as MiVOLO runs this detector."""

MOST = 300
"""Boxes in one image."""


class PersonFaceDetector:
    """A `PeopleDetector`, and a `Detector` of the persons alone.

    What is found in an image does not depend on the others of its batch: only images of one shape share a call, because
    ultralytics pads a mixed batch to squares, which changes what it finds.
    """

    def __init__(
        self,
        weights: Path,
        *,
        name: str = "yolov8x-person-face",
        confidence: float = CONFIDENCE,
        image_size: int = IMAGE_SIZE,
        batch: int = 16,
        device: str | None = None,
    ) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1")
        if image_size < 32 or image_size % 32:
            raise ValueError(f"image_size is {image_size}, expected a positive multiple of 32")
        self.name = name
        self._yolo = load_yolo(weights, task="detect", classes=(PERSON, FACE))
        self._class = _classes(self._yolo.names, weights)
        from sentinel_assets.vision.models.batches import Batches
        from sentinel_assets.vision.models.conversions import chosen_device

        self._device, _ = chosen_device(device)
        self._confidence, self._image_size = confidence, image_size
        self._batches = Batches(batch, name)
        self._lock = threading.Lock()  # predict() keeps the batch in the predictor

    @property
    def network(self) -> Any:
        """The torch module that predicts: after the first images, ultralytics' fused copy of the one in the file."""
        predictor = self._yolo.predictor
        return predictor.model if predictor is not None else self._yolo.model

    def detect(self, images: Sequence[Image]) -> list[Boxes]:
        return [people.persons for people in self.detect_people(images)]

    def detect_people(self, images: Sequence[Image]) -> list[People]:
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise ValueError(f"an image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
            by_shape[image.shape].append(index)
        found: dict[int, People] = {}
        for indices in by_shape.values():
            people = self._batches.over([images[i] for i in indices], self._predict)
            found.update(zip(indices, people, strict=True))
        return [found[index] for index in range(len(images))]

    def _predict(self, images: Sequence[Image]) -> list[People]:
        with self._lock:
            results = self._yolo.predict(
                [np.ascontiguousarray(image[..., ::-1]) for image in images],  # R, G, B -> B, G, R
                imgsz=self._image_size,
                conf=self._confidence,
                iou=SAME,
                max_det=MOST,
                device=str(self._device),
                **({"quantize": 16} if self._device.type == "cuda" else {}),
                verbose=False,
                save=False,
            )
        return [self._people(result.boxes) for result in results]

    def _people(self, boxes: Any) -> People:
        xyxy, confidence, kind = (_floats(part) for part in (boxes.xyxy, boxes.conf, boxes.cls))
        persons, faces = (
            Boxes(xyxy[kind == self._class[word]], confidence[kind == self._class[word]]) for word in (PERSON, FACE)
        )
        return People(persons, Faces.without_landmarks(faces))


def _classes(names: dict[int, str], weights: Path) -> dict[str, int]:
    """Class name -> index, as the checkpoint has them; never by a fixed index."""
    if sorted(names.values()) != sorted((PERSON, FACE)):
        some = ", ".join(sorted(names.values())[:4])
        raise ModelError(f"has {len(names)} classes ({some}), expected person and face", where=weights)
    return {name: index for index, name in names.items()}


def _floats(tensor: Any) -> Floats:
    return np.asarray(tensor.cpu().numpy(), np.float32)
