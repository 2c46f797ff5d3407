"""MEBOW: 17 keypoints and the direction that a body faces, of one person in a box (arXiv:2011.13688).

It gives no actions. Its angles are those of `orientation.py`: seen from above with the camera below the picture,
counter-clockwise, 0 = back to the camera, 90 = facing the image's left, 180 = facing the camera.

The crop is that of the published evaluation, not of the demo: the box is made 3:4 about its middle, enlarged by a
quarter, and warped to 192 x 256 px; what lies outside of the frame is black. The published accuracy (68.6 % within 5
degrees, 90.7 % within 15, 96.9 % within 30 on COCO-MEBOW val) is for boxes drawn by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.batches import Batches
from sentinel_assets.vision.models.checkpoints import read_checkpoint, require_match, tensors_of
from sentinel_assets.vision.models.conversions import Weights, assembled, chosen_device, converted
from sentinel_assets.vision.models.hrnet import HrnetSize, OrientedHrnet
from sentinel_assets.vision.protocols import BodyView, Direction, Floats, Image, OrientedPose, Pose

INPUT = (192, 256)
"""Width and height of a crop, px."""

MARGIN = 1.25
"""Enlargement of the box (evaluation path of MEBOW)."""

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
"""Of R, G, B in ImageNet, where the pixels are divided by 255 first."""

BIN = 5.0
"""Degrees. Bin k stands for 5 k, its left edge: the labels are multiples of 5."""


class Mebow:
    """A `BodyModel`. Rows are independent: the batch is only a matter of memory.

    The confidence in a direction is the mean cosine of the angles between it and where the network puts its
    probability: 1 when all of it is there, .94 for the labels that it was trained on (a Gaussian of 20 degrees), 0 when
    it is spread evenly or over two opposite directions.
    """

    surroundings = 0.84
    """Of a box's longer side: as far from a box does the crop reach at most (one lying twice as long as high: .59; a
    strip: 1.25 / .75 / 2)."""

    def __init__(
        self,
        weights: Path,
        *,
        name: str = "mebow",
        batch: int = 32,
        precision: str | None = None,
        device: str | None = None,
        size: HrnetSize | Mapping[str, Any] | None = None,
    ) -> None:
        """`precision` "float32" computes so on a GPU too; `size` is for other networks than the published one."""
        size = HrnetSize(**size) if isinstance(size, Mapping) else size or HrnetSize()
        self.name = name
        self._device, dtype = chosen_device(device)
        self._dtype = torch.float32 if precision == "float32" else dtype
        held = converted(weights, lambda path: read_mebow(path, size), dtype=self._dtype)
        self.network = assembled(lambda: OrientedHrnet(size), held.tensors, weights, self._device)
        self._batches = Batches(batch, name)

    def estimate_bodies(self, views: Sequence[BodyView]) -> list[OrientedPose]:
        return self._batches.over(views, self._estimate)

    def _estimate(self, views: Sequence[BodyView]) -> list[OrientedPose]:
        crops = np.stack([normalised(crop(view.image, view.box)) for view in views])
        with torch.inference_mode():
            rows = torch.from_numpy(crops).to(self._device, self._dtype)
            if self._device.type != "cpu":
                rows = rows.contiguous(memory_format=torch.channels_last)
            heatmaps, bins = (output.cpu().numpy() for output in self.network(rows))
        return [
            OrientedPose(pose_of(maps, view.box), direction_of(distribution))
            for view, maps, distribution in zip(views, heatmaps, bins, strict=True)
        ]


def read_mebow(path: Path, size: HrnetSize | None = None) -> Weights:
    """The tensors of `model_hboe.pth`, a flat state dict; of a training checkpoint too, where it holds but one set."""
    content = read_checkpoint(path)
    if isinstance(content, dict) and "state_dict" in content:
        tensors = tensors_of(content["state_dict"], path)
        best = tensors_of(content["best_state_dict"], path) if content.get("best_state_dict") else tensors
        if best.keys() != tensors.keys() or any(not torch.equal(best[name], tensors[name]) for name in tensors):
            raise ModelError(
                "a training checkpoint with two differing sets of weights",
                where=path,
                remedy="Save the one that is meant as a file of its own",
            )
    else:
        tensors = tensors_of(content, path)
    with torch.device("meta"):
        require_match(tensors, OrientedHrnet(size).state_dict(), path)
    return Weights(tensors)


def crop(image: Image, box: Floats | NDArray[np.float64]) -> Image:
    """What the network sees of the person in `box` (x1, y1, x2, y2 px): (256, 192, 3)."""
    warped = cv2.warpAffine(image, warp(box), INPUT, flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.uint8)


def normalised(image: Image) -> Floats:
    """(3, H, W), as the network takes it."""
    scaled = (image.astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def placed(box: Floats | NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Middle of the box (2,), px, and its width and height (2,), px, after they were made 3:4 and enlarged."""
    x1, y1, x2, y2 = (float(side) for side in box)
    width, height = x2 - x1, y2 - y1
    middle = np.array([x1 + width / 2, y1 + height / 2], np.float32)
    aspect = INPUT[0] / INPUT[1]
    if width > aspect * height:
        height = width / aspect
    else:
        width = height * aspect
    # By steps of 200 px, as the reference has it, so that the same numbers are rounded in the same places.
    steps = np.array([width / 200, height / 200], np.float32) * np.float32(MARGIN)
    return middle, np.asarray(steps * np.float32(200), np.float32)


def warp(
    box: Floats | NDArray[np.float64], size: tuple[int, int] = INPUT, *, back: bool = False
) -> NDArray[np.float64]:
    """The map (2, 3) from the image into a crop of `size`; `back`: from the crop into the image."""
    middle, extent = placed(box)
    image = _corner(middle, extent[0])
    target = _corner(np.array([size[0] * 0.5, size[1] * 0.5], np.float32), np.float32(size[0]))
    ends = (target, image) if back else (image, target)
    return np.asarray(cv2.getAffineTransform(*ends), np.float64)


def _corner(middle: Floats, width: np.float32) -> Floats:
    """A middle, a point half the width above it, and one as far to the left of that: (3, 2). They fix a map without
    rotation that scales both axes alike."""
    above = middle + np.array([0, width * -0.5], np.float32)
    return np.stack([middle, above, above + np.array([width * -0.5, 0], np.float32)]).astype(np.float32)


def pose_of(heatmaps: Floats, box: Floats) -> Pose:
    """The keypoints of heatmaps (17, H, W) as px of the image that the box is in.

    Each is the map's peak, moved by a quarter towards its higher neighbour; its score is the peak's height, cut to
    [0, 1]. A map without a positive value has its keypoint at the crop's corner, with score 0.
    """
    points, peaks = peaks_of(heatmaps)
    to_image = warp(box, (heatmaps.shape[2], heatmaps.shape[1]), back=True)
    placed_points = points @ to_image[:, :2].T + to_image[:, 2]
    scores = peaks.clip(0, 1)
    return Pose(np.column_stack([placed_points, scores]).astype(np.float32), float(scores.mean()))


def peaks_of(heatmaps: Floats) -> tuple[Floats, Floats]:
    """Refined peaks (17, 2), x and y in px of the heatmap, and their heights (17,)."""
    count, height, width = heatmaps.shape
    at = heatmaps.reshape(count, -1).argmax(axis=1)
    values = heatmaps.reshape(count, -1)[np.arange(count), at]
    points = np.stack([at % width, at // width], axis=1).astype(np.float32)
    points[values <= 0] = 0
    for index, (x, y) in enumerate(points.astype(int)):
        if 1 < x < width - 1 and 1 < y < height - 1:
            heat = heatmaps[index]
            slope = np.array([heat[y, x + 1] - heat[y, x - 1], heat[y + 1, x] - heat[y - 1, x]])
            points[index] += np.sign(slope) * np.float32(0.25)
    return points, np.asarray(values, np.float32)


def direction_of(bins: Floats) -> Direction:
    """The likeliest direction of a distribution over 72 bins (72,), and how sure it is (see `Mebow`)."""
    angles = np.deg2rad(np.arange(len(bins)) * (360.0 / len(bins)))
    at = int(np.argmax(bins))
    agreement = float((bins * np.cos(angles - angles[at])).sum())
    return Direction(at * 360.0 / len(bins), min(1.0, max(0.0, agreement)))
