"""The models of a profile, built from the catalogue: verified weights in, an adapter of `vision.models` out.

Nothing heavy is imported before a model is asked for, so that the asset graph can name its models' digests cheaply. A
model is built once in a process and shared by whoever asks for the same weights and options.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from resources.model_entries import ModelEntry
from resources.settings import Settings
from resources.weights import CATALOGUE, INSTEAD, MIRROR, Catalogue
from sentinel_assets.interrupts import held_back
from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.protocols import (
    AttributeModel,
    BodyModel,
    Describer,
    Detector,
    FaceDetector,
    PeopleDetector,
    PersonAttributeModel,
    PoseModel,
    TextEncoder,
)

T = TypeVar("T")

_SETTINGS = (CATALOGUE, INSTEAD, MIRROR)
"""Environment variables, or beginnings of such, that choose catalogue, models and sources."""

_built: dict[Hashable, Any] = {}
_building = threading.RLock()


def catalogue() -> Catalogue:
    """The catalogue, with the cache of weights and the mirror that the environment names now."""
    environment = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(_SETTINGS)))
    return _catalogue(Settings.from_env().weights, environment)


@cache
def _catalogue(cache_folder: Path, environment: tuple[tuple[str, str], ...]) -> Catalogue:
    """One for each `environment`, which `Catalogue.load` reads."""
    return Catalogue.load(cache=cache_folder)


def ingredients(role: str, profile: str | None = None) -> list[dict[str, Any]]:
    """What a profile's models of that role are made of: name, version, sha256 of the weights (None where the model is
    code of ours) and options, as JSON types. Loads no model and fetches nothing."""
    return [
        {"name": e.name, "version": e.version, "sha256": e.sha256, "options": dict(e.options)}
        for e in _entries(role, profile, least=0)
    ]


def detector(profile: str | None = None) -> Detector | PeopleDetector:
    """Finds persons; where the profile names several models, their union. A single one may find faces too."""
    from sentinel_assets.vision.models.union import UnionDetector

    adapters: dict[str, Callable[..., Detector]] = {
        "yolo": _yolo_detector,
        "movenet": _movenet_detector,
        "person-face": _person_face_detector,
    }
    found = [_one(e, adapters) for e in _entries("detector", profile)]
    return found[0] if len(found) == 1 else UnionDetector(found)


def face_detector(profile: str | None = None) -> FaceDetector | None:
    """None where the profile names none, as its detector finds faces itself."""
    if not _entries("face_detector", profile, least=0):
        return None
    return _one(_single("face_detector", profile), {"centerface": _centerface})


def attribute_model(profile: str | None = None) -> AttributeModel | PersonAttributeModel:
    """Age and gender: one model, or a network for each, named in this order."""
    entries = _entries("attributes", profile)
    if len(entries) == 1 and entries[0].adapter == "mivolo":
        return _shared(entries, _mivolo)
    if {e.adapter for e in entries} != {"age-gender"} or len(entries) != 2:
        raise ModelError(
            f"attributes are {[e.name for e in entries]}, expected an age and a gender network, or one that tells both",
            where="models.yaml",
        )
    return _shared(entries, _age_gender)


def pose_models(profile: str | None = None) -> list[PoseModel | BodyModel]:
    """In the order in which they are to be asked."""
    adapters: dict[str, Callable[..., PoseModel | BodyModel]] = {
        "movenet": _movenet_poses,
        "yolo-pose": _yolo_poses,
        "mebow": _mebow,
    }
    return [_one(e, adapters) for e in _entries("pose", profile)]


def describer(profile: str | None = None) -> Describer:
    adapters: dict[str, Callable[..., Describer]] = {
        "template": _template,
        "fastvlm": _fastvlm,
        "image-text": _image_text,
    }
    return _one(_single("describer", profile), adapters)


def text_encoder(profile: str | None = None) -> TextEncoder:
    return _one(_single("text_encoder", profile), _text_encoders())


def text_encoder_of(ingredient: Mapping[str, Any]) -> TextEncoder:
    """The encoder that a recipe names among its models. Raises ModelError where the catalogue has it no more."""
    entry = catalogue().model(str(ingredient["name"]))
    if entry.sha256 != ingredient["sha256"]:
        raise ModelError(
            "the catalogue has other weights under this name",
            where=entry.name,
            remedy="Give the new model a name of its own, and keep the old one until search is switched",
        )
    return _one(entry.model_copy(update={"options": ingredient["options"]}), _text_encoders())


def _text_encoders() -> dict[str, Callable[..., TextEncoder]]:
    return {"e5": _e5, "sentence": _sentence_encoder}


def needs_weights(role: str, profile: str | None = None) -> bool:
    """Whether a profile's model of that role is a network, and no code of ours alone. Loads none."""
    return any(e.has_weights for e in _entries(role, profile, least=0))


def _entries(role: str, profile: str | None, *, least: int = 1) -> list[ModelEntry]:
    chosen = profile or Settings.from_env().profile
    entries = catalogue().profile(chosen).get(role)
    if entries is None or len(entries) < least:
        raise ModelError(f"profile {chosen} names no model for the role {role}", where="models.yaml")
    return entries


def _single(role: str, profile: str | None) -> ModelEntry:
    entries = _entries(role, profile)
    if len(entries) != 1:
        raise ModelError(f"{role} takes one model, not {[e.name for e in entries]}", where="models.yaml")
    return entries[0]


def _one(entry: ModelEntry, adapters: dict[str, Callable[..., T]]) -> T:
    try:
        build = adapters[entry.adapter]
    except KeyError:
        raise ModelError(
            f"adapter {entry.adapter!r} of {entry.name} is none of {', '.join(adapters)}", where="models.yaml"
        ) from None
    return _shared([entry], build)


def _shared(entries: Sequence[ModelEntry], build: Callable[..., T]) -> T:
    """What `build(*weights, name=..., **options)` gives, once for each choice of weights and options."""
    options = {name: value for entry in entries for name, value in entry.options.items()}
    key = (build, *(e.sha256 or e.name for e in entries), repr(sorted(options.items())))
    with _building:
        if key not in _built:
            weights = [catalogue().fetch(e) for e in entries if e.has_weights]
            with held_back():
                _built[key] = build(*weights, name=entries[0].name, **options)
        model: T = _built[key]
        return model


def _yolo_detector(weights: Path, *, name: str, **options: Any) -> Detector:
    _needs_ultralytics(name)
    from sentinel_assets.vision.models.yolo import YoloPersonDetector

    return YoloPersonDetector(weights, name=name, **options)


def _movenet_detector(weights: Path, *, name: str, tiles: Sequence[int] | None = None, **options: Any) -> Detector:
    from sentinel_assets.vision.models.movenet import MoveNetDetector

    if tiles is not None and len(tiles) != 2:
        raise ModelError(f"tiles of {name} are {tiles}, expected columns and rows", where="models.yaml")
    return MoveNetDetector(weights, tiles=(tiles[0], tiles[1]) if tiles else None, **options)


def _centerface(weights: Path, *, name: str, **options: Any) -> FaceDetector:
    from sentinel_assets.vision.models.centerface import CenterFace

    return CenterFace(weights, **options)


def _age_gender(age_weights: Path, gender_weights: Path, *, name: str, **options: Any) -> AttributeModel:
    from sentinel_assets.vision.models.age_gender import AgeGender

    return AgeGender(age_weights, gender_weights, **options)


def _movenet_poses(weights: Path, *, name: str, **options: Any) -> PoseModel:
    from sentinel_assets.vision.models.movenet import MoveNet

    return MoveNet(weights, **options)


def _yolo_poses(weights: Path, *, name: str, **options: Any) -> PoseModel:
    _needs_ultralytics(name)
    from sentinel_assets.vision.models.yolo_pose import YoloPose

    return YoloPose(weights, **options)


def _template(*, name: str, **options: Any) -> Describer:
    from sentinel_assets.vision.models.template import TemplateDescriber

    return TemplateDescriber(**options)


def _fastvlm(folder: Path, *, name: str, key_frames: int = 1, **options: Any) -> Describer:
    _needs(name, "torch", "timm", "transformers")
    from sentinel_assets.vision.models.fastvlm import FastVlm
    from sentinel_assets.vision.models.vision_language import VisionLanguageDescriber

    return VisionLanguageDescriber(FastVlm(folder, name=name, **options), key_frames=key_frames)


def _image_text(folder: Path, *, name: str, key_frames: int = 3, **options: Any) -> Describer:
    _needs(name, "torch", "transformers")
    from sentinel_assets.vision.models.image_text import ImageTextModel
    from sentinel_assets.vision.models.vision_language import VisionLanguageDescriber

    return VisionLanguageDescriber(ImageTextModel(folder, name=name, **options), key_frames=key_frames)


def _e5(weights: Path, *, name: str, **options: Any) -> TextEncoder:
    from sentinel_assets.vision.models.e5 import E5

    return E5(weights, **options)


def _sentence_encoder(folder: Path, *, name: str, **options: Any) -> TextEncoder:
    _needs(name, "torch", "transformers")
    from sentinel_assets.vision.models.sentence_encoder import SentenceEncoder

    return SentenceEncoder(folder, name=name, **options)


def _person_face_detector(weights: Path, *, name: str, **options: Any) -> Detector:
    _needs(name, "torch", "ultralytics")
    from sentinel_assets.vision.models.person_face import PersonFaceDetector

    return PersonFaceDetector(weights, name=name, **options)


def _mivolo(weights: Path, *, name: str, **options: Any) -> PersonAttributeModel:
    _needs(name, "torch", "timm", "safetensors")
    from sentinel_assets.vision.models.mivolo import Mivolo

    return Mivolo(weights, name=name, **options)


def _mebow(weights: Path, *, name: str, **options: Any) -> BodyModel:
    _needs(name, "torch", "safetensors")
    from sentinel_assets.vision.models.mebow import Mebow

    return Mebow(weights, name=name, **options)


def _needs(name: str, *packages: str) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ModelError(
            f"{' and '.join(missing)} not installed",
            where=name,
            remedy="Install with the extra `gpu`, or choose SENTINEL_PROFILE=cpu",
        )


def _needs_ultralytics(name: str) -> None:
    missing = [package for package in ("torch", "ultralytics") if find_spec(package) is None]
    if missing:
        raise ModelError(
            f"{' and '.join(missing)} not installed",
            where=name,
            remedy="Install with the extra `cpu`, or choose SENTINEL_PROFILE=permissive, which needs neither",
        )
