"""Stand-ins for the published models: networks with about a thirtieth of their operations, in the same proportions.

Their weights are random, so what they answer does not come out of them: persons are where `footage.people` draws them,
which the detector reads off the number in the frame's corner. What they take is that of real networks.

| | published | stand-in |
| --- | --- | --- |
| detector | YOLOv8x, 154 GFLOP for 640 x 384 | YOLOv8n, 4.9 |
| age and gender | MiVOLO, 18.1 | MobileNetV3, 0.6 |
| orientation | MEBOW, 17.8 | HRNet-W18 small, 0.8 |
| describer | FastVLM, 487 to see, 222 to read, 60 to write | ResNet-18 and a Qwen2 of six layers, 14, 4 and 1 |

The text encoder is the product's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from sentinel_assets.vision.protocols import (
    Attributes,
    BodyView,
    Boxes,
    Description,
    Direction,
    EventFacts,
    Faces,
    Image,
    OrientedPose,
    People,
    PersonCrop,
    Pose,
    Scene,
)
from tests.bench.footage import PEOPLE, WIDTH, number_in, people

_TOKENS, _PROMPT, _WORDS = 60, 300, 8000
_AT_ONCE = 4
"""Events: `fastvlm.py`'s batch on a CPU."""
_STANDING = np.array(
    # x and y of the 17 COCO keypoints as shares of a standing person's box, by half the box's width and its height
    [
        [0.50, 0.08],
        *([0.47, 0.06], [0.53, 0.06], [0.43, 0.07], [0.57, 0.07]),
        *([0.32, 0.20], [0.68, 0.20], [0.28, 0.35], [0.72, 0.35], [0.27, 0.48], [0.73, 0.48]),
        *([0.40, 0.52], [0.60, 0.52], [0.40, 0.74], [0.60, 0.74], [0.40, 0.96], [0.60, 0.96]),
    ],
    np.float32,
)


def _seeded() -> Any:
    import torch

    torch.manual_seed(0)
    return torch


def _run(network: Any, images: Sequence[Image], size: tuple[int, int]) -> None:
    """The images, each made `size` (width, height) px, through the network at once."""
    import cv2
    import torch

    batch = np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images])
    with torch.inference_mode():
        network(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255)


class Detector:
    """A `PeopleDetector` of footage with so many people."""

    name = "stand-in-detector"

    def __init__(self, count: int = PEOPLE) -> None:
        self._count = count

    @cached_property
    def network(self) -> Any:
        from ultralytics.nn.tasks import DetectionModel

        _seeded()
        return DetectionModel("yolov8n.yaml", nc=2, verbose=False).eval()

    def detect_people(self, images: Sequence[Image]) -> list[People]:
        _run(self.network, images, (640, 384))
        return [self._seen(image) for image in images]

    def _seen(self, image: Image) -> People:
        scale = image.shape[1] / WIDTH
        persons = np.array(people(number_in(image), self._count), np.float32) * scale
        heads = persons.copy()
        width, height = persons[:, 2] - persons[:, 0], persons[:, 3] - persons[:, 1]
        heads[:, 0], heads[:, 2] = persons[:, 0] + 0.3 * width, persons[:, 2] - 0.3 * width
        heads[:, 3] = persons[:, 1] + 0.15 * height
        sure = np.full(len(persons), 0.9, np.float32)
        return People(Boxes(persons, sure), Faces.without_landmarks(Boxes(heads, sure)))


class AgeAndGender:
    """A `PersonAttributeModel`."""

    name = "stand-in-age-and-gender"

    @cached_property
    def network(self) -> Any:
        import timm

        _seeded()
        return timm.create_model("mobilenetv3_large_100", pretrained=False).eval()

    def crop(self, scene: Scene, asked: Sequence[int]) -> list[PersonCrop]:
        faces = [_cut(scene.image, scene.faces[i]) if i < len(scene.faces) else None for i in asked]
        return [PersonCrop(face, _cut(scene.image, scene.persons[i]), i) for face, i in zip(faces, asked, strict=True)]

    def estimate_crops(self, crops: Sequence[PersonCrop]) -> list[Attributes | None]:
        _run(self.network, [crop.body for crop in crops if crop.body is not None], (256, 256))
        return [Attributes(35.0, 0.9, 0.8, 0.9) for _ in crops]


class Orientation:
    """A `BodyModel`."""

    name = "stand-in-orientation"
    surroundings = 0.25

    @cached_property
    def network(self) -> Any:
        import timm

        _seeded()
        return timm.create_model("hrnet_w18_small", pretrained=False).eval()

    def estimate_bodies(self, views: Sequence[BodyView]) -> list[OrientedPose]:
        _run(self.network, [_cut(view.image, view.box) for view in views], (96, 128))
        return [OrientedPose(Pose(_standing(view), 0.9), Direction(90.0, 0.9)) for view in views]


class Describer:
    """A `LookingDescriber`."""

    name = "stand-in-describer"
    key_frames = 1

    @cached_property
    def network(self) -> Any:
        import timm

        _seeded()
        return timm.create_model("resnet18", pretrained=False).eval()

    @cached_property
    def language_model(self) -> Any:
        from transformers import Qwen2Config, Qwen2ForCausalLM

        _seeded()
        config = Qwen2Config(
            vocab_size=_WORDS,
            hidden_size=256,
            intermediate_size=1024,
            num_hidden_layers=6,
            num_attention_heads=8,
            num_key_value_heads=2,
        )
        return Qwen2ForCausalLM(config).eval()

    def describe(self, events: Sequence[EventFacts]) -> list[Description]:
        """A few at once, as the product's describers do."""
        some = [events[first : first + _AT_ONCE] for first in range(0, len(events), _AT_ONCE)]
        return [sentence for batch in some for sentence in self._describe(batch)]

    def _describe(self, events: Sequence[EventFacts]) -> list[Description]:
        import torch

        _run(self.network, [event.images[0] for event in events], (448, 448))
        prompt = torch.full((len(events), _PROMPT), 7)
        with torch.inference_mode():
            self.language_model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                min_new_tokens=_TOKENS,
                max_new_tokens=_TOKENS,
                pad_token_id=0,
            )
        return [Description(f"One person, {event.behavior}.", "en", grounded=False) for event in events]


def _cut(image: Image, box: np.ndarray[Any, Any]) -> Image:
    x1, y1, x2, y2 = (max(0, int(side)) for side in box)
    return np.ascontiguousarray(image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)])


def _standing(view: BodyView) -> np.ndarray[Any, np.dtype[np.float32]]:
    corner, size = view.box[:2], view.box[2:] - view.box[:2]
    return np.column_stack([corner + _STANDING * size, np.full(17, 0.9, np.float32)]).astype(np.float32)
