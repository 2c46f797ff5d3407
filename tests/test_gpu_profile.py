"""The profile `gpu` from an empty cache to events, with small networks in the place of the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sentinel_assets import models
from sentinel_assets.vision.protocols import BodyModel, PeopleDetector, PersonAttributeModel
from tests.builders.machine import Machine
from tests.builders.networks import HRNET, VOLO, write_mebow, write_mivolo, write_person_face
from tests.builders.vision_language import original_folder

CATALOGUE = Path(__file__).resolve().parent.parent / "resources" / "models.yaml"


@pytest.fixture(scope="module")
def authors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three files under their published names."""
    folder = tmp_path_factory.mktemp("authors")
    write_person_face(folder / "yolov8x_person_face.pt")
    write_mivolo(folder / "model_imdb_cross_person_4.22_99.46.pth.tar")
    write_mebow(folder / "model_hboe.pth")
    return folder


@pytest.fixture(scope="module")
def small_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue as it is, but for the sizes of the networks."""
    document = yaml.safe_load(CATALOGUE.read_text())
    document["models"]["mivolo-d1"]["options"] = {
        "size": {k: list(v) if isinstance(v, tuple) else v for k, v in VOLO.items()}
    }
    document["models"]["mebow"]["options"] = {
        "size": {k: list(v) if isinstance(v, tuple) else v for k, v in HRNET.items()}
    }
    document["models"]["yolov8x-person-face"]["options"] = {"image_size": 320, "confidence": 0.97}
    path = tmp_path_factory.mktemp("catalogue") / "models.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


PULL = ("models", "pull", "--profile", "gpu")
ACCEPT = ("--accept-licence", "mivolo", "--accept-licence", "mebow-research")


def test_models_of_the_profile_are_built_from_what_was_pulled(
    authors: Path, small_catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentinel_assets.analysis import pull_weights

    monkeypatch.setenv("SENTINEL_MODELS_CATALOGUE", str(small_catalogue))
    monkeypatch.setenv("SENTINEL_WEIGHTS", str(tmp_path / "weights"))
    pull_weights("gpu", lambda *_: None, licences=["mivolo", "mebow-research"], mirror=str(authors))
    assert isinstance(models.detector("gpu"), PeopleDetector)
    assert models.face_detector("gpu") is None
    assert isinstance(models.attribute_model("gpu"), PersonAttributeModel)
    (pose,) = models.pose_models("gpu")
    assert isinstance(pose, BodyModel)
    assert models.pose_models("gpu") == [pose]
    for role in ("detector", "attributes", "pose"):
        (ingredient,) = models.ingredients(role, "gpu")
        assert len(ingredient["sha256"]) == 64  # of the lock: another file makes another recipe
    monkeypatch.setenv("SENTINEL_MODEL_POSE", "movenet")
    assert [one.name for one in models.pose_models("gpu")] == ["movenet"]


@pytest.mark.drill
def test_from_an_empty_cache_to_events(authors: Path, small_catalogue: Path, people: Path, machine: Machine) -> None:
    env = {"SENTINEL_MODELS_CATALOGUE": str(small_catalogue), "SENTINEL_WEIGHTS": str(machine.home / "weights")}
    early = machine.run("analyze", people, "--profile", "gpu", env=env)
    assert early.returncode == 1
    assert "sentinel models pull --profile gpu --accept-licence mivolo --accept-licence mebow-research" in early.stderr
    unread = machine.run(*PULL, "--from", authors, env=env)
    assert unread.returncode == 1
    assert "--accept-licence mivolo" in unread.stderr
    done = machine.run(*PULL, *ACCEPT, "--from", authors, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is locked to what was pulled first: sha256") == 3
    verified = machine.run("models", "verify", "--json", env=env)
    assert verified.returncode == 0, verified.stderr
    states = {row["name"]: row["state"] for row in json.loads(verified.stdout)}
    assert [states[name] for name in ("yolov8x-person-face", "mivolo-d1", "mebow")] == ["locked"] * 3
    analysed = machine.run("analyze", people, "--profile", "gpu", "--json", env=env)
    assert analysed.returncode == 0, analysed.stderr
    (video,) = json.loads(analysed.stdout)["videos"]
    assert video["error"] is None
    assert {"detections", "demographics", "poses", "events"} <= set(video["made"])
    # What a seeded network sees is nobody in particular; that nothing is out of date now is what counts.
    again = machine.run("analyze", people, "--profile", "gpu", "--json", env=env)
    assert json.loads(again.stdout)["videos"][0]["made"] == []


@pytest.mark.drill
def test_a_describer_that_looks_tells_of_the_events_in_the_graph(oracle: Path, people: Path, machine: Machine) -> None:
    """FastVLM with seeded weights babbles: what it says is checked, and each row tells who wrote it, and why."""
    chosen = {"SENTINEL_MODEL_DESCRIBER": "fastvlm-0.5b", "SENTINEL_WEIGHTS": str(machine.home / "weights")}
    folder = original_folder(oracle, machine.home / "authors" / "llava-fastvithd_0.5b_stage2").parent
    pulled = machine.run(
        "models", "pull", "--profile", "cpu", "--accept-licence", "apple-research", "--from", folder, env=chosen
    )
    assert pulled.returncode == 0, pulled.stderr
    done = machine.run("analyze", people, "--json", env=chosen)
    assert done.returncode == 0, done.stderr
    (video,) = json.loads(done.stdout)["videos"]
    assert video["error"] is None
    table = pd.read_parquet(machine.home / "artifacts" / "descriptions" / f"{video['video']['id']}.parquet")
    assert len(table) > 0
    for row in table.to_dict("records"):
        assert row["describer"] in ("fastvlm-0.5b", "template-en")
        assert (row["describer"] == "template-en") == row["grounded"] == pd.notna(row["remark"])
    said = {row["event_key"]: row["description"] for row in machine.rows("people.mp4")}
    assert said == dict(zip(table["event_key"], table["description"], strict=True))
