"""A converted copy is made once, is what the source is, and is never taken for another's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.conversions import Weights, assembled, converted, unfilled
from sentinel_assets.vision.models.hrnet import OrientedHrnet
from sentinel_assets.vision.models.mebow import read_mebow
from tests.builders.networks import SMALL_HRNET, mebow_state, write_mebow


class Reader:
    """Counts how often the source itself is read."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, path: Path) -> Weights:
        self.reads += 1
        return Weights(read_mebow(path, SMALL_HRNET).tensors, {"min_age": 1.5})


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_source_is_read_once(tmp_path: Path) -> None:
    source, read = write_mebow(tmp_path / "model.pth"), Reader()
    first = converted(source, read, dtype=torch.float32)
    again = converted(source, read, dtype=torch.float32)
    assert read.reads == 1
    assert again.facts == first.facts == {"min_age": 1.5}
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in mebow_state().items())
    copy = "model.pth.float32.safetensors"
    assert files(tmp_path) == ["model.pth", copy, f"{copy}.lock.json"]


def test_half_precision_is_a_copy_of_its_own_and_leaves_counters_whole(tmp_path: Path) -> None:
    source, read = write_mebow(tmp_path / "model.pth"), Reader()
    converted(source, read, dtype=torch.float32)
    half = converted(source, read, dtype=torch.float16)
    assert half.tensors["hoe_fc.weight"].dtype == torch.float16
    assert half.tensors["bn1.num_batches_tracked"].dtype == torch.int64
    assert read.reads == 2


def damaged(copy: Path) -> None:
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)


def of_another_revision(copy: Path) -> None:
    lock = copy.with_name(f"{copy.name}.lock.json")
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "revision": 0}))


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(damaged, id="a changed byte"),
        pytest.param(lambda copy: copy.unlink(), id="no copy"),
        pytest.param(lambda copy: copy.with_name(f"{copy.name}.lock.json").unlink(), id="no lock"),
        pytest.param(lambda copy: copy.with_name(f"{copy.name}.lock.json").write_text("{"), id="a broken lock"),
        pytest.param(of_another_revision, id="an earlier format"),
        pytest.param(lambda copy: write_mebow(copy.with_name("model.pth"), seed=1), id="another source"),
    ],
)
def test_a_copy_that_is_not_what_its_lock_says_is_made_again(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    source, read = write_mebow(tmp_path / "model.pth"), Reader()
    os.utime(source, (1, 1))
    converted(source, read, dtype=torch.float32)
    harm(tmp_path / "model.pth.float32.safetensors")
    found = converted(source, read, dtype=torch.float32)
    assert read.reads == 2
    now = read_mebow(source, SMALL_HRNET).tensors
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in now.items())


def test_no_copy_of_a_bad_source_is_made(tmp_path: Path) -> None:
    state = mebow_state()
    state["hoe_fc.bias"][3] = float("nan")
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(ModelError, match="no numbers"):
        converted(tmp_path / "model.pth", Reader(), dtype=torch.float32)
    assert files(tmp_path) == ["model.pth"]


def test_a_value_too_large_for_half_precision_is_told(tmp_path: Path) -> None:
    state = mebow_state()
    state["bn1.running_var"][0] = 1e6
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(ModelError, match="precision: float32"):
        converted(tmp_path / "model.pth", Reader(), dtype=torch.float16)
    assert files(tmp_path) == ["model.pth"]


def test_a_folder_that_cannot_be_written_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The weights of a machine image may be mounted read-only."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    source, read = write_mebow(tmp_path / "model.pth"), Reader()
    monkeypatch.setattr("tempfile.TemporaryDirectory", refused)
    for _ in range(2):
        assert converted(source, read, dtype=torch.float32).tensors.keys() == mebow_state().keys()
    assert read.reads == 2
    assert "each start reads it anew" in caplog.text


def test_a_network_is_built_without_memory_and_gets_exactly_the_tensors() -> None:
    network = unfilled(lambda: OrientedHrnet(SMALL_HRNET))
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    state = mebow_state()
    ready = assembled(lambda: OrientedHrnet(SMALL_HRNET), state, "here", torch.device("cpu"))
    assert not ready.training
    assert all(held.data_ptr() == state[name].data_ptr() for name, held in ready.state_dict().items())
    with pytest.raises(ModelError, match="missing"):
        assembled(lambda: OrientedHrnet(SMALL_HRNET), {}, "here", torch.device("cpu"))
