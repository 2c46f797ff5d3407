"""A recipe changes when, and only when, what comes out may change."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel_assets import vision
from sentinel_assets.recipes import STAGES, Version, data_version, made_by, recipe
from tests.goldens import Golden

VISION = Path(vision.__file__).parent


def _code_digest(module: str) -> str:
    """Over the syntax tree without docstrings: comments, layout and prose may change freely."""
    tree = ast.parse((VISION / f"{module.replace('.', '/')}.py").read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body.pop(0)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def test_code_that_changed_has_a_new_revision(golden: Golden) -> None:
    """Where this fails: raise the stage's revision in recipes.py if outputs may differ, then --update-goldens."""
    golden.check(
        "stage_code.json",
        {
            name: {"revision": stage.revision, "code": {m: _code_digest(m) for m in stage.modules}}
            for name, stage in STAGES.items()
        },
    )


def test_every_module_of_the_analysis_belongs_to_a_stage() -> None:
    """A module that no stage names could change results without any recipe noticing."""
    contracts = {"errors", "tables", "protocols", "__init__", "models.__init__"}
    there = {str(p.relative_to(VISION).with_suffix("")).replace("/", ".") for p in VISION.rglob("*.py")}
    named = {m for stage in STAGES.values() for m in stage.modules}
    assert there - contracts == named


@pytest.mark.parametrize(
    "change",
    [
        {"revision": 99},  # another way of computing it
        {"models": ({"name": "yolov8n", "sha256": "0" * 64},)},  # other weights under the same name
        {"parameters": {"DetectionParameters": {"confidence": 0.9}}},  # another threshold
    ],
)
def test_each_ingredient_changes_the_digest(change: dict[str, object]) -> None:
    """Code, models and parameters each make another recipe."""
    now = recipe("detections", "cpu")
    assert replace(now, **change).digest != now.digest  # type: ignore[arg-type]


def test_the_profile_is_a_name_and_no_ingredient() -> None:
    """Equal models in two profiles make equal outputs, which are not made twice."""
    assert recipe("embeddings", "cpu").digest == recipe("embeddings", "permissive").digest
    assert recipe("detections", "cpu").digest != recipe("detections", "permissive").digest


def test_a_data_version_says_who_made_it() -> None:
    """The recipe can be read off the data version alone."""
    text = data_version("behaviors", "c0ffee", "fade")
    assert made_by(text) == recipe("behaviors").digest
    assert Version.parse(text) == Version(recipe("behaviors").digest, "c0ffee", "fade")


def test_the_sample_rate_is_part_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at more frames gives other detections."""
    before = recipe("detections").digest
    recipe.cache_clear()
    monkeypatch.setenv("SENTINEL_SAMPLE_RATE", "5")
    try:
        assert recipe("detections").digest != before
    finally:
        recipe.cache_clear()
