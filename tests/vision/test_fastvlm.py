"""FastVLM in both layouts, against what the reference implementations gave with the same tiny weights."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models import fastvlm_layouts as layouts
from sentinel_assets.vision.models.fastvlm import FastVlm, squared
from sentinel_assets.vision.models.image_text import ImageTextModel
from sentinel_assets.vision.protocols import Image
from tests.builders.vision_language import native_folder, original_folder

QUESTION = "Describe the image."


@pytest.fixture(scope="module")
def original(oracle: Path) -> FastVlm:
    return FastVlm(oracle / "ckpt" / "llava-fastvithd_tiny_stage2", device="cpu")


@pytest.fixture(scope="module")
def native_path(oracle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return native_folder(oracle, tmp_path_factory.mktemp("native") / "fastvlm")


@pytest.fixture(scope="module")
def native(native_path: Path) -> FastVlm:
    return FastVlm(native_path, device="cpu")


@pytest.fixture(scope="module")
def pictures(oracle: Path) -> Callable[[str], Image]:
    return lambda name: np.ascontiguousarray(cv2.imread(str(oracle / "data" / f"{name}.png"))[..., ::-1])


@pytest.fixture(scope="module")
def goldens(oracle: Path) -> dict[str, Any]:
    return {name: np.load(oracle / "goldens" / f"fastvlm_{name}.npz") for name in ("llava", "native")}


def test_every_tensor_of_the_published_file_has_its_native_name(oracle: Path) -> None:
    known = json.loads((oracle / "manifests" / "fastvlm_key_map.json").read_text())
    found = {name: layouts.native_name(name) for name in known["original_to_native"]}
    assert found == known["original_to_native"]
    assert [layouts.native_name(name) for name in known["dropped"]] == [None]


def test_pictures_are_padded_with_black_and_scaled_as_the_reference_does(
    pictures: Callable[[str], Image], goldens: dict[str, Any]
) -> None:
    for name in ("scene_odd", "tall"):
        assert np.array_equal(squared(pictures(name), 256).transpose(2, 0, 1), goldens["llava"][f"pre256/{name}/u8"])
    large = squared(pictures("scene_odd"), 1024).transpose(2, 0, 1)
    assert np.array_equal(large[:, ::8, ::8], goldens["llava"]["pre1024/scene_odd/u8_stride8"])


@pytest.mark.parametrize("layout", ["original", "native"])
def test_both_layouts_give_what_the_references_gave(
    layout: str, request: pytest.FixtureRequest, pictures: Callable[[str], Image], goldens: dict[str, Any]
) -> None:
    """Features, logits, and the tokens of an answer, of which the prompt's are exact too."""
    import torch

    model: FastVlm = request.getfixturevalue(layout)
    ids = model.prompt_ids(QUESTION)
    assert ids == goldens["native"]["ids_native/describe"].tolist()
    pixels = model.pixels([pictures("scene_odd"), pictures("bus")])
    with torch.inference_mode():
        seen = model._network.model.get_image_features(pixels)
        logits = model._network(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            pixel_values=pixels[:1],
        ).logits[0]
    features = seen.last_hidden_state.flatten(2).permute(0, 2, 1).numpy()
    for reference in goldens.values():
        scale = float(reference["tiny/features"].std())
        np.testing.assert_allclose(features / scale, reference["tiny/features"] / scale, atol=1e-4)
        np.testing.assert_allclose(seen.pooler_output.numpy(), reference["tiny/projected"], atol=1e-4)
        last = reference["tiny/describe/scene_odd/logits_last"]
        np.testing.assert_allclose(logits[-1, : len(last)].numpy(), last, atol=1e-4)
    greedy = goldens["llava"]["tiny/describe/scene_odd/greedy"].tolist()
    assert model.generate([[pictures("scene_odd")]], [QUESTION], 12) == [greedy]
    assert logits[:, :273].argmax(-1).tolist() == goldens["llava"]["tiny/describe/scene_odd/logits_argmax"].tolist()


def test_a_batch_gives_what_single_questions_give(original: FastVlm, pictures: Callable[[str], Image]) -> None:
    """Prompts of different length, one of them with two pictures; nothing without a word is ever said."""
    bus, tall = pictures("bus"), pictures("tall")
    asked = [([bus], QUESTION), ([bus, tall], "What changes?"), ([tall], "Who?")]
    together = original.generate([p for p, _ in asked], [q for _, q in asked], 8)
    assert together == [original.generate([p], [q], 8)[0] for p, q in asked]
    assert all(token < original.image_token for row in together for token in row)


def test_a_question_cannot_bring_a_picture_of_its_own(original: FastVlm) -> None:
    assert original.prompt_ids("<image>Who?") == original.prompt_ids("Who?")


def test_a_model_of_transformers_answers_alone_as_among_others(
    native_path: Path, pictures: Callable[[str], Image]
) -> None:
    """The general describer, on transformers' own processor: an answer does not depend on who shares the batch."""
    general = ImageTextModel(native_path, device="cpu", max_tokens=6)
    shown = [[pictures("bus")], [pictures("tall")]]
    answers = general.answer(shown, [QUESTION, "Who?"])
    assert len(answers) == 2
    assert general.answer(shown[:1], [QUESTION])[0] == answers[0]


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _remote_code(folder: Path) -> None:
    _configure(folder, auto_map={"AutoModel": "modeling.Evil"})
    (folder / "modeling.py").write_text("raise SystemExit('ran')")


def _truncated(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1000])


def _headless(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")


def _overlapping(folder: Path) -> None:
    """Two tensors on the same bytes, and so some bytes that are nobody's; the length is right."""
    content = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    by_size: dict[int, list[str]] = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            by_size.setdefault(end - start, []).append(name)
    first, second = next(names for names in by_size.values() if len(names) > 1)[:2]
    header[first]["data_offsets"] = header[second]["data_offsets"]
    changed = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + length :])


def _no_tokenizer(folder: Path) -> None:
    (folder / "vocab.json").unlink()


def _other_kind(folder: Path) -> None:
    _configure(folder, model_type="llava")


def _other_projector(folder: Path) -> None:
    _configure(folder, mm_projector_type="linear")


def _other_size(folder: Path) -> None:
    _configure(folder, num_hidden_layers=3)


def _other_width(folder: Path) -> None:
    _configure(folder, hidden_size=128)


def _not_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _no_numbers(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] *= float("nan")
    save_file(tensors, folder / "model.safetensors")


def _configure(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_pickle_only, "a pickle"),
        (_remote_code, "auto_map"),
        (_truncated, "its header says"),
        (_overlapping, "not a file of safetensors"),
        (_headless, "cut short"),
        (_no_tokenizer, "no tokenizer"),
        (_other_kind, "type 'llava', expected"),
        (_other_projector, "mm_projector_type"),
        (_other_size, "missing"),
        (_other_width, "of another shape"),
        (_not_json, "cannot be read as JSON"),
        (_no_numbers, "no numbers"),
    ],
)
def test_what_is_not_a_whole_fastvlm_is_refused_in_one_line(
    spoil: Callable[[Path], None], message: str, oracle: Path, tmp_path: Path
) -> None:
    folder = original_folder(oracle, tmp_path / "model")
    spoil(folder)
    with pytest.raises(ModelError, match=message) as caught:
        FastVlm(folder, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("spoil", "message"), [(_pickle_only, "a pickle"), (_remote_code, "auto_map")])
def test_the_general_describer_refuses_what_would_run(
    spoil: Callable[[Path], None], message: str, native_path: Path, tmp_path: Path
) -> None:
    import shutil

    folder = Path(shutil.copytree(native_path, tmp_path / "model"))
    spoil(folder)
    with pytest.raises(ModelError, match=message):
        ImageTextModel(folder, device="cpu")
