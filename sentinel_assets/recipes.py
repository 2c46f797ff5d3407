"""What an output was made by: a revision of the stage's code, models with their weights' digests, parameters.

The digest of a recipe is the asset's `code_version`; the data version of each output is `<recipe>-<content>-<inputs>`:
who made it, what came out, and of what content its inputs were. An output is out of date when another recipe made it,
or when the content of its inputs is another now. All of that stands in the one tag which Dagster indexes, so that a
whole fleet is compared in a few queries. What is known of a video's camera is an input, not an ingredient: a changed
zone makes that camera's videos stale and no others.

A stage's `revision` is raised by hand whenever a change of its code changes what comes out; `tests/test_recipes.py`
compares the code with what it was at that revision and fails on a difference, so that not raising it is a decision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from typing import Any

import pandas as pd

from resources.artifacts import content_digest
from resources.settings import Settings
from sentinel_assets import models
from sentinel_assets.parameters import sampling
from sentinel_assets.vision.behaviors import BehaviorParameters
from sentinel_assets.vision.demographics import DemographicsParameters
from sentinel_assets.vision.detections import DetectionParameters
from sentinel_assets.vision.facts import FactParameters
from sentinel_assets.vision.key_frames import KeyFrameParameters
from sentinel_assets.vision.poses import PoseParameters
from sentinel_assets.vision.tables import TABLES
from sentinel_assets.vision.tracking import TrackingParameters


@dataclass(frozen=True)
class Stage:
    """A step of the analysis: the code it consists of, the roles of the models that it uses, and its parameters."""

    revision: int
    modules: tuple[str, ...]
    """Modules under `sentinel_assets.vision` whose code decides what comes out."""
    roles: tuple[str, ...] = ()
    parameters: tuple[Callable[[], Any], ...] = ()


_READING = ("frames", "held_frames", "gop", "decoding", "containers", "pixels")
_PUBLISHED = ("models.batches", "models.checkpoints", "models.conversions")
"""How checkpoints that others published are read and run."""

STAGES: Mapping[str, Stage] = {
    "detections": Stage(
        revision=3,
        modules=(
            *_READING,
            "ahead",
            "suitability",
            "tracking",
            "detections",
            "adaptive",
            "adaptive_detections",
            "models.union",
            "models.yolo",
            "models.movenet",
            "models.centerface",
            "models.person_face",
            *_PUBLISHED,
            "models.ultralytics_loader",
        ),
        roles=("detector", "face_detector"),
        parameters=(sampling, DetectionParameters, TrackingParameters),
    ),
    "demographics": Stage(
        revision=2,
        modules=(
            *_READING,
            "demographics",
            "sightings",
            "models.age_gender",
            "models.mivolo",
            "models.mivolo_network",
            "models.face_body",
            *_PUBLISHED,
        ),
        roles=("attributes",),
        parameters=(DemographicsParameters,),
    ),
    "poses": Stage(
        revision=1,
        modules=(
            *_READING,
            "ahead",
            "poses",
            "orientation",
            "models.movenet",
            "models.yolo_pose",
            "models.ultralytics_loader",
            "models.mebow",
            "models.hrnet",
            *_PUBLISHED,
        ),
        roles=("pose",),
        parameters=(PoseParameters,),
    ),
    "behaviors": Stage(
        revision=4,
        modules=(
            "behaviors",
            "behavior_parameters",
            "features",
            "stature",
            "postures",
            "gestures",
            "falls",
            "encounters",
            "anomalies",
            "findings",
            "skeleton",
            "windows",
            "zones",
            "cameras",
            "presence",
            "alarms",
            "sights",
            "facts",
            "orientation",
            "interest",
        ),
        parameters=(BehaviorParameters,),
    ),
    "descriptions": Stage(
        revision=2,
        modules=(
            *_READING,
            "descriptions",
            "facts",
            "orientation",
            "key_frames",
            "contradictions",
            "models.template",
            "models.vision_language",
            "models.fastvlm",
            "models.fastvlm_layouts",
            "models.image_text",
            "models.language_devices",
            "models.safetensors_folder",
            *_PUBLISHED,
        ),
        roles=("describer",),
        parameters=(FactParameters, KeyFrameParameters),
    ),
    "embeddings": Stage(
        revision=1, modules=("embeddings", "models.e5", "models.sentence_encoder"), roles=("text_encoder",)
    ),
    "events": Stage(revision=1, modules=("events", "facts", "orientation"), parameters=(FactParameters,)),
}


@dataclass(frozen=True)
class Recipe:
    """How one asset is made. `digest` is 12 hex digits over everything that can change what comes out."""

    asset: str
    profile: str
    revision: int
    models: tuple[Mapping[str, Any], ...]
    parameters: Mapping[str, Mapping[str, Any]]

    @property
    def digest(self) -> str:
        # The profile is a name for a choice of models, not an ingredient: equal models make equal outputs.
        content = {k: v for k, v in asdict(self).items() if k != "profile"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def ingredients(self) -> dict[str, Any]:
        """The recipe in full, as JSON types, for the warehouse's `recipes` table."""
        return {
            "revision": self.revision,
            "models": [dict(m) for m in self.models],
            "parameters": dict(self.parameters),
        }


@cache
def recipe(asset: str, profile: str | None = None) -> Recipe:
    """The recipe by which that asset is made now, in that profile (default: the environment's)."""
    stage, chosen = STAGES[asset], profile or Settings.from_env().profile
    return Recipe(
        asset=asset,
        profile=chosen,
        revision=stage.revision,
        models=tuple(ingredient for role in stage.roles for ingredient in models.ingredients(role, chosen)),
        parameters={make.__name__: _plain(make()) for make in stage.parameters},
    )


@dataclass(frozen=True)
class Version:
    """A stage's data version, taken apart; parts that are not there are empty, and equal to none of today's."""

    recipe: str
    content: str
    inputs: str

    @classmethod
    def parse(cls, text: str) -> Version:
        parts = text.split("-", 2)
        return cls(*parts, *[""] * (3 - len(parts)))

    def __str__(self) -> str:
        return f"{self.recipe}-{self.content}-{self.inputs}"


def data_version(asset: str, content: str, inputs: str) -> str:
    """`<recipe>-<content>-<inputs>`: who made it, what came out, and from what (`inputs_digest`)."""
    return str(Version(recipe(asset).digest, content, inputs))


def made_by(version: str) -> str:
    """The recipe digest that a data version begins with."""
    return version.partition("-")[0]


def inputs_digest(inputs: Mapping[str, str | pd.DataFrame]) -> str:
    """12 hex digits over what an output was made from: for each input its table or that table's digest; of `video`
    its etag, of `camera` `Filming.digest`, of `sampling` `filming.sampling_digest`.

    The recipes of the inputs have no part in it: an input that was made anew and came out the same changes nothing.
    """
    contents = {name: what if isinstance(what, str) else table_digest(name, what) for name, what in inputs.items()}
    return hashlib.sha256("|".join(f"{name}={contents[name]}" for name in sorted(contents)).encode()).hexdigest()[:12]


def table_digest(asset: str, frame: pd.DataFrame) -> str:
    """The content digest of that asset's table: of what its stage made, or of the same read back."""
    return content_digest(TABLES[asset].conform(frame))


def _plain(parameters: Any) -> dict[str, Any]:
    assert is_dataclass(parameters)
    assert not isinstance(parameters, type)
    return dict(json.loads(json.dumps(asdict(parameters))))
