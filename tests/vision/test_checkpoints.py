"""A checkpoint that is hostile, damaged or another network's is refused in one line, before anything of it runs."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.checkpoints import read_checkpoint, require_finite, require_match, tensors_of
from sentinel_assets.vision.models.mebow import read_mebow
from sentinel_assets.vision.models.mivolo import read_mivolo
from tests.builders.networks import AGES, SMALL_HRNET, SMALL_VOLO, mebow_state, mivolo_content


class Runs:
    """Makes the file that it is given when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def saved(path: Path, value: Any, *, legacy: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def pickled(path: Path, value: Any) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=2))
    return path


def cut(path: Path, part: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    return path


def squeezed(path: Path) -> Path:
    """The same archive, compressed."""
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.namelist():
            target.writestr(member, source.read(member))
    return path


def leading_out(path: Path) -> Path:
    """The same archive, with one member more."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/../../../escaped", b"x")
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda p, bad: saved(p, {"state_dict": bad}), r"would run \w+\.mkdir", id="in a zip archive"),
        pytest.param(
            lambda p, bad: saved(p, {"x": bad}, legacy=True), r"would run \w+\.mkdir", id="in the old container"
        ),
        pytest.param(pickled, r"would run \w+\.mkdir", id="a bare pickle"),
        pytest.param(lambda p, _: saved(p, torch.nn.Linear(2, 2)), "would run torch.nn", id="a whole module"),
        pytest.param(lambda p, _: cut(saved(p, mebow_state()), 0.5), "not a whole checkpoint", id="half of an archive"),
        pytest.param(lambda p, _: cut(saved(p, mebow_state()), 0.999), "not a whole", id="its end is missing"),
        pytest.param(
            lambda p, _: cut(saved(p, mebow_state(), legacy=True), 0.5),
            "not a whole checkpoint",
            id="half, old container",
        ),
        pytest.param(lambda p, _: p.write_bytes(b"") or p, "not a whole checkpoint", id="empty"),
        pytest.param(lambda p, _: p.write_text("<html>Sign in</html>") and p, "checkpoint", id="a web page"),
        pytest.param(lambda p, _: squeezed(saved(p, {"x": torch.zeros(10**6)})), "compressed", id="swells"),
        pytest.param(lambda p, _: leading_out(saved(p, {"x": torch.zeros(3)})), "leads out", id="leads out of it"),
        pytest.param(lambda p, _: p, "no such file", id="absent"),
    ],
)
def test_what_is_no_plain_checkpoint_is_refused(tmp_path: Path, make: Callable[..., Path], reason: str) -> None:
    path = make(tmp_path / "model.pth", Runs(tmp_path / "ran"))
    with pytest.raises(ModelError, match=reason) as raised:
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()
    assert raised.value.where == str(path)
    assert "\n" not in str(raised.value)


def test_a_changed_byte_anywhere_is_no_crash(tmp_path: Path) -> None:
    """Either it is a checkpoint still, with other numbers, or a ModelError: nothing else."""
    path = saved(tmp_path / "model.pth", {"x": torch.arange(4.0), "y": [1, {"z": "text"}]})
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            read_checkpoint(path)
        except ModelError:
            refused += 1
    assert refused


def test_what_training_scripts_leave_is_read(tmp_path: Path) -> None:
    content = {"args": argparse.Namespace(lr=0.1), "n": np.int64(95), "x": np.float64(48.5), "w": torch.ones(2)}
    found = read_checkpoint(saved(tmp_path / "model.pth", content))
    assert (found["n"], found["x"], found["args"].lr) == (95, 48.5, 0.1)
    assert type(found["x"]) is float


def test_a_numpy_object_is_no_number(tmp_path: Path) -> None:
    scalar = np.array([Runs(tmp_path / "ran")], object)
    with pytest.raises(ModelError):
        read_checkpoint(saved(tmp_path / "model.pth", {"n": scalar}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda s: s.pop("hoe_fc.bias"), r"1 tensors missing \(hoe_fc.bias\)", id="missing"),
        pytest.param(lambda s: s.update(extra=torch.ones(1)), r"1 tensors not of this network \(extra\)", id="surplus"),
        pytest.param(
            lambda s: s.update({"hoe_fc.bias": torch.ones(71)}),
            r"hoe_fc.bias \(71,\) float32, expected \(72,\)",
            id="shape",
        ),
        pytest.param(lambda s: s.update({"hoe_fc.bias": torch.ones(72, dtype=torch.int64)}), "int64", id="kind"),
        pytest.param(lambda s: s.update({"hoe_fc.bias": [1.0] * 72}), "expected tensors", id="no tensor"),
        pytest.param(lambda s: s.update({"hoe_fc.bias": torch.ones(72).to_sparse()}), "expected tensors", id="sparse"),
        pytest.param(lambda s: s.clear(), "empty", id="nothing"),
    ],
)
def test_another_networks_tensors_are_refused(tmp_path: Path, change: Callable[..., Any], reason: str) -> None:
    state = mebow_state()
    change(state)
    with pytest.raises(ModelError, match=reason):
        read_mebow(saved(tmp_path / "model.pth", state), SMALL_HRNET)


def test_long_lists_of_names_are_cut(tmp_path: Path) -> None:
    state = {f"layer{i}": torch.ones(1) for i in range(50)}
    with pytest.raises(ModelError, match=r"50 tensors missing \(layer0, layer1, layer2, and 47 more\)"):
        require_match({}, state, "here")


def test_values_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ModelError, match="1 tensors with values that are no numbers"):
        require_finite({"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")])}, "here")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda s: s, id="as published"),
        pytest.param(lambda s: {f"module.{k}": v for k, v in s.items()}, id="with a wrapper's prefix"),
        pytest.param(
            lambda s: {"epoch": 80, "state_dict": {f"module.{k}": v for k, v in s.items()}, "best_state_dict": s},
            id="a training checkpoint",
        ),
    ],
)
def test_the_ways_in_which_mebow_is_saved(tmp_path: Path, wrap: Callable[..., Any], legacy: bool) -> None:
    state = mebow_state()
    found = read_mebow(saved(tmp_path / "model.pth", wrap(state), legacy=legacy), SMALL_HRNET)
    assert found.tensors.keys() == state.keys()
    assert all(torch.equal(found.tensors[name], state[name]) for name in state)


def test_two_sets_of_weights_in_one_file_are_not_chosen_between(tmp_path: Path) -> None:
    content = {"state_dict": mebow_state(1), "best_state_dict": mebow_state(2)}
    with pytest.raises(ModelError, match="two differing sets"):
        read_mebow(saved(tmp_path / "model.pth", content), SMALL_HRNET)


def halved(content: dict[str, Any]) -> dict[str, Any]:
    state = content["state_dict"]
    return {**content, "state_dict_ema": {k: v * 0.5 if v.is_floating_point() else v for k, v in state.items()}}


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        pytest.param(lambda c: c, 1.0, id="as published"),
        pytest.param(lambda c: {k: v for k, v in c.items() if k != "with_persons_model"}, 1.0, id="without the flag"),
        pytest.param(halved, 0.5, id="averaged weights are preferred"),
        pytest.param(
            lambda c: {**c, "state_dict": {**c["state_dict"], "fds.mean": torch.ones(3)}},
            1.0,
            id="smoothing is dropped",
        ),
        pytest.param(lambda c: {**c, "args": argparse.Namespace(), "avg_age": np.float64(48)}, 1.0, id="a namespace"),
    ],
)
def test_the_ways_in_which_mivolo_is_saved(tmp_path: Path, change: Callable[..., Any], factor: float) -> None:
    content = mivolo_content()
    found = read_mivolo(saved(tmp_path / "model.pth.tar", change(content)), SMALL_VOLO)
    name = "head.weight"
    assert torch.equal(found.tensors[name], content["state_dict"][name] * factor)
    assert found.facts == {**AGES, "outputs": 3, "with_bodies": True}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_age": None}, "min_age is None"),
        ({"avg_age": "48"}, "avg_age is '48'"),
        ({"max_age": 1}, "no range"),
        ({"max_age": float("inf")}, "max_age is inf"),
        ({"state_dict": None}, "none of state_dict_ema"),
        ({"with_persons_model": False}, "not of this network"),
        ({"no_gender": True}, "of another shape"),
    ],
)
def test_a_checkpoint_that_does_not_say_how_it_is_read_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        read_mivolo(saved(tmp_path / "model.pth.tar", mivolo_content(**changes)), SMALL_VOLO)


def test_something_else_is_no_state_dict() -> None:
    with pytest.raises(ModelError, match="found int"):
        tensors_of(5, "here")
