"""CenterFace (Star Clouds, MIT): faces with five landmarks, for images that show a few people closely.

Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", arXiv:1911.03599. For each cell of
4 x 4 input pixels the network gives the score of a face's centre there, the logarithms of its height and width in
cells, the centre's offset within the cell, and five landmarks as fractions of the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx.tools.update_model_dims import update_inputs_outputs_dims

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.protocols import Boxes, Faces, Floats, Image

CONFIDENCE = 0.35
"""Below this come backs of heads: one of them scored .31 in the clips that the model was tried on."""

SAME_FACE = 0.3
"""Intersection over union from which two boxes are one face; as in the published decoder."""

THREADS = 2
"""More than two threads do not pay for a head of 256 px."""

_STRIDE = 32
_CELL = 4
_INPUT = "input.1"
_HEATMAP, _SCALE, _OFFSET, _LANDMARKS = "537", "538", "539", "540"


class CenterFace:
    """A `FaceDetector`. Images keep their size (rounded up to multiples of 32): the caller enlarges small heads.

    Images of one size share a call. Instances may be used by several threads.
    """

    name = "centerface"

    def __init__(self, weights: Path, *, confidence: float = CONFIDENCE, threads: int = THREADS) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1")
        self._confidence = confidence
        self._session = _open(weights, threads)

    def detect(self, images: Sequence[Image]) -> list[Faces]:
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise ValueError(f"an image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
            by_size.setdefault((_round_up(image.shape[0]), _round_up(image.shape[1])), []).append(index)
        found: dict[int, Faces] = {}
        for (height, width), indices in by_size.items():
            batch = np.stack([cv2.resize(images[i], (width, height)) for i in indices])
            tensor = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)
            outputs = self._session.run([_HEATMAP, _SCALE, _OFFSET, _LANDMARKS], {_INPUT: tensor})
            for row, index in enumerate(indices):
                shape = images[index].shape
                pixels = np.array([shape[1] / width, shape[0] / height], np.float32)
                found[index] = _decode([output[row] for output in outputs], pixels, self._confidence)
        return [found[index] for index in range(len(images))]


def _open(weights: Path, threads: int) -> onnxruntime.InferenceSession:
    """The network for any batch and size: the published file has its sizes fixed to one of each."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # the file names its weights among its inputs, and is warned of for each
    try:
        model = onnx.load(weights)
        inputs: dict[str, list[str | int]] = {_INPUT: ["B", 3, "H", "W"]}
        for node in model.graph.input:
            inputs.setdefault(node.name, [d.dim_value for d in node.type.tensor_type.shape.dim])
        channels = {_HEATMAP: 1, _SCALE: 2, _OFFSET: 2, _LANDMARKS: 10}
        outputs: dict[str, list[str | int]] = {name: ["B", count, "h", "w"] for name, count in channels.items()}
        flexible = update_inputs_outputs_dims(model, inputs, outputs)
        return onnxruntime.InferenceSession(flexible.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnx, protobuf and onnxruntime share no base class of errors
        raise ModelError(f"not the network of CenterFace: {error}", where=weights, remedy="Pull it again") from error


def _decode(outputs: Sequence[Floats], pixels: Floats, confidence: float) -> Faces:
    """One image's outputs as faces, best first; `pixels` are image pixels per input pixel along x and y."""
    heatmap, scale, offset, points = outputs
    rows, columns = np.nonzero(heatmap[0] > confidence)
    if not len(rows):
        return Faces(Boxes.none(), np.zeros((0, 5, 2), np.float32))
    score = heatmap[0, rows, columns]
    height, width = np.exp(scale[:, rows, columns]) * _CELL
    centre_y = (rows + offset[0, rows, columns] + 0.5) * _CELL
    centre_x = (columns + offset[1, rows, columns] + 0.5) * _CELL
    left, top = centre_x - width / 2, centre_y - height / 2
    marks = points[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1]  # y, x -> x, y
    landmarks = marks * np.stack([width, height], 1)[:, None] + np.stack([left, top], 1)[:, None]
    boxes = np.stack([left, top, left + width, top + height], 1) * np.tile(pixels, 2)
    kept = _distinct(boxes, score)
    limits = np.array([heatmap.shape[2], heatmap.shape[1]], np.float32) * _CELL * pixels
    return Faces(
        Boxes(boxes[kept].clip(0, np.tile(limits, 2)).astype(np.float32), score[kept].clip(0, 1).astype(np.float32)),
        (landmarks[kept] * pixels).astype(np.float32),
    )


def _distinct(boxes: Floats, score: Floats) -> list[int]:
    """Indices of the boxes that no better one overlaps, best first."""
    kept: list[int] = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for index in np.argsort(-score, kind="stable"):
        corner = np.minimum(boxes[kept, 2:], boxes[index, 2:]) - np.maximum(boxes[kept, :2], boxes[index, :2])
        common = corner.clip(0).prod(axis=1)
        if not (common / (area[kept] + area[index] - common) >= SAME_FACE).any():
            kept.append(int(index))
    return kept


def _round_up(length: int) -> int:
    return -(-length // _STRIDE) * _STRIDE
