"""MiVOLO: age and gender of a person from face and body, each of which may be missing (arXiv:2307.04616).

Published for `model_imdb_cross_person_4.22_99.46`, trained and tested on IMDB-clean: a mean error of 4.24 years with
face and body, of 6.87 with the body alone; 68.3 % and 46.3 % of ages within 5 years; gender right in 99.5 % and 96.5 %.
With the face alone it was tested on AgeDB: 5.58 years, 55.5 %, 97.9 %. Few children were among those it learnt from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.batches import Batches
from sentinel_assets.vision.models.checkpoints import Tensors, read_checkpoint, require_match, tensors_of
from sentinel_assets.vision.models.conversions import Weights, assembled, chosen_device, converted
from sentinel_assets.vision.models.face_body import Pair, crops_of, matched
from sentinel_assets.vision.models.mivolo_network import VoloSize, mivolo_network
from sentinel_assets.vision.protocols import Attributes, Floats, Image, PersonCrop, Scene

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])
"""Of R, G, B in ImageNet, where the pixels are divided by 255 first."""

BODY_WEIGHT = "patch_embed.conv1.0.weight"
"""A checkpoint that does not say so itself is one with bodies if it has this tensor."""

TRAINING = "fds."
"""Names with this in them belong to a smoothing of features that only training uses."""

WEIGHTS = ("state_dict_ema", "model_ema", "state_dict")
"""Where the tensors are, the averaged ones first: timm's loader, and with it the reference, prefers them."""


@dataclass(frozen=True)
class AgeScale:
    """How the network's number is an age; read from the file, as no two published ones are alike."""

    min_age: float
    max_age: float
    avg_age: float

    def years(self, numbers: Floats) -> Floats:
        """As published: rounded to hundredths, not cut to the range that was learnt."""
        return np.asarray(np.round(numbers * (self.max_age - self.min_age) + self.avg_age, 2), np.float32)


@dataclass(frozen=True)
class _Reliability:
    """What is published for one kind of input: mean error in years, and the share of ages within 5 years."""

    age_error: float
    within_5: float

    @property
    def within_10(self) -> float:
        """As the second five years halve the misses again by the same part: of errors that fall off exponentially."""
        return 1 - (1 - self.within_5) ** 2


_FACE_AND_BODY, _BODY, _FACE = _Reliability(4.24, 0.683), _Reliability(6.87, 0.463), _Reliability(5.58, 0.555)


class Mivolo:
    """A `PersonAttributeModel`. Rows are independent: the batch is only a matter of memory.

    `gender_confidence` is how far the likelier gender's probability exceeds an even chance, `age_confidence` the
    probability of an age within 10 years that the published figures imply for what was shown. A person of whom neither
    face nor body shows has no estimate; the reference reports a constant there.
    """

    def __init__(
        self,
        weights: Path,
        *,
        name: str = "mivolo-d1",
        batch: int = 32,
        precision: str | None = None,
        device: str | None = None,
        size: VoloSize | Mapping[str, Any] | None = None,
    ) -> None:
        """`precision` "float32" computes so on a GPU too; `size` is for other networks than the published one."""
        size = VoloSize(**size) if isinstance(size, Mapping) else size or VoloSize()
        self.name = name
        self._device, dtype = chosen_device(device)
        self._dtype = torch.float32 if precision == "float32" else dtype
        held = converted(weights, lambda path: read_mivolo(path, size), dtype=self._dtype)
        self.scale = AgeScale(*(float(held.facts[key]) for key in ("min_age", "max_age", "avg_age")))
        self.with_bodies, self.outputs = bool(held.facts["with_bodies"]), int(held.facts["outputs"])
        self.side = size.side
        self.network = assembled(
            lambda: mivolo_network(size, with_bodies=self.with_bodies, outputs=self.outputs),
            held.tensors,
            weights,
            self._device,
        )
        self._batches = Batches(batch, name)

    def crop(self, scene: Scene, asked: Sequence[int]) -> list[PersonCrop]:
        face_of = {person: face for face, person in matched(scene).items()}
        return crops_of(scene, [Pair(face_of.get(person), person) for person in asked], self.side)

    def estimate_crops(self, crops: Sequence[PersonCrop]) -> list[Attributes | None]:
        shown = [crop for crop in crops if not self._is_blind(crop)]
        numbers = iter(self.infer(shown))
        return [None if self._is_blind(crop) else self._attributes(crop, next(numbers)) for crop in crops]

    def infer(self, crops: Sequence[PersonCrop]) -> list[Floats]:
        """What the network says of each crop, undecoded, also of an empty one."""
        return self._batches.over(crops, self._infer)

    def decoded(self, numbers: Floats) -> tuple[Floats, Floats]:
        """Rows (N, outputs) as ages (N,), years, and probabilities of being male (N,); .5 where the file knows none."""
        if self.outputs == 1:
            return self.scale.years(numbers[:, 0]), np.full(len(numbers), 0.5, np.float32)
        logits = numbers[:, :2].astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return self.scale.years(numbers[:, 2]), np.asarray(odds[:, 0] / odds.sum(axis=1), np.float32)

    def _is_blind(self, crop: PersonCrop) -> bool:
        return crop.is_empty or (crop.face is None and not self.with_bodies)

    def _infer(self, crops: Sequence[PersonCrop]) -> list[Floats]:
        rows = np.stack([network_input(crop, self.side, with_body=self.with_bodies) for crop in crops])
        with torch.inference_mode():
            given = torch.from_numpy(rows).to(self._device, self._dtype)
            if self._device.type != "cpu":
                given = given.contiguous(memory_format=torch.channels_last)
            numbers: Floats = self.network(given).float().cpu().numpy()
        return list(numbers)

    def _attributes(self, crop: PersonCrop, numbers: Floats) -> Attributes:
        ages, male = self.decoded(numbers[None])
        both = crop.face is not None and crop.body is not None and self.with_bodies
        known = _FACE_AND_BODY if both else (_BODY if crop.face is None else _FACE)
        return Attributes(
            age=max(0.0, float(ages[0])),
            age_confidence=known.within_10,
            male=float(male[0]),
            gender_confidence=abs(float(male[0]) - 0.5) * 2,
            age_error=known.age_error,
        )


def network_input(crop: PersonCrop, side: int, *, with_body: bool = True) -> Floats:
    """(6, side, side), the face's channels first; what is missing is black before it is normalised."""
    shown = [crop.face, crop.body] if with_body else [crop.face]
    return np.concatenate([_missing(side) if image is None else normalised(image) for image in shown])


def normalised(image: Image) -> Floats:
    """(3, H, W), in double precision until the last step, as the reference has it."""
    scaled = (image / 255.0 - MEAN) / STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def _missing(side: int) -> Floats:
    """Black, in single precision, as the reference makes it."""
    channels = -MEAN.astype(np.float32) / STD.astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(channels[:, None, None], (3, side, side)))


def read_mivolo(path: Path, size: VoloSize | None = None) -> Weights:
    """The tensors of a checkpoint of MiVOLO, and how its numbers are ages."""
    content = read_checkpoint(path)
    if not isinstance(content, Mapping):
        raise ModelError(f"not a checkpoint of MiVOLO: {type(content).__name__}", where=path)
    held = next((key for key in WEIGHTS if content.get(key)), None)
    if held is None:
        raise ModelError(f"not a checkpoint of MiVOLO: it has none of {', '.join(WEIGHTS)}", where=path)
    everything = tensors_of(content[held], path)
    tensors: Tensors = {name: tensor for name, tensor in everything.items() if TRAINING not in name}
    facts: dict[str, Any] = {key: _number(content, key, path) for key in ("min_age", "max_age", "avg_age")}
    if facts["max_age"] <= facts["min_age"]:
        raise ModelError(f"ages from {facts['min_age']} to {facts['max_age']}: no range", where=path)
    facts["outputs"] = 1 if content.get("no_gender") else 3
    facts["with_bodies"] = bool(content.get("with_persons_model", BODY_WEIGHT in tensors))
    size = size or VoloSize()
    with torch.device("meta"):
        network = mivolo_network(size, with_bodies=facts["with_bodies"], outputs=facts["outputs"])
    require_match(tensors, network.state_dict(), path)
    return Weights(tensors, facts)


def _number(content: Mapping[str, Any], key: str, path: Path) -> float:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ModelError(f"{key} is {value!r}, expected a number", where=path)
    return float(value)
