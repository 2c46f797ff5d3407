"""The two layouts in which FastVLM is published, brought to the one that transformers has classes for.

The original layout (LLaVA's: `model_type llava_qwen2`, flat keys) and the native one (`fast_vlm`) hold the same tensors
under other names. The vision tower, FastViTHD (Vasu et al., "FastVLM", arXiv:2412.13303), is timm's `fastvit_mci3` with
its branches already folded; its depth and widths are read off the tensors' shapes, as the original configuration does
not state them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sentinel_assets.vision.errors import ModelError

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]

ORIGINAL, NATIVE = "llava_qwen2", "fast_vlm"

STRIDE = 64
"""Pixels of a side of the picture for one token of the tower's output."""

_TOWER = "model.vision_tower.vision_tower.model."
_TIMM = "model.vision_tower.timm_model."
_CLIP_HEAD = f"{_TOWER}head.proj"
"""Projects to CLIP's space: not part of FastVLM."""
_STAGES = (0, 2, 4, 7, 10)
"""Places of the five stages in the original `network`; between them lie downsamplings and position embeddings."""
_DOWNSAMPLES = {1: 1, 3: 2, 5: 3, 8: 4}
_POSITIONS = {6: 3, 9: 4}
_RENAMED = (
    (re.compile(r"\.convffn\."), ".mlp."),
    (re.compile(r"\.lkb_reparam\."), ".reparam_conv."),
    (re.compile(r"\.(layer_scale(?:_[12])?)$"), r".\1.gamma"),
)
_TEXT_KEYS = (
    "attention_dropout",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "max_window_layers",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "use_sliding_window",
    "vocab_size",
)


@dataclass(frozen=True)
class NativeModel:
    """What transformers' classes take: the configuration of `FastVlmConfig`, and the tensors under its names.
    `image_side` px."""

    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    image_side: int


def native_name(name: str) -> str | None:
    """The name that transformers has for a tensor of the original layout; None for one that FastVLM does not use."""
    if name == _CLIP_HEAD:
        return None
    if name.startswith(_TOWER):
        return _TIMM + _tower_name(name.removeprefix(_TOWER))
    if name.startswith("model.mm_projector."):
        place, _, kind = name.removeprefix("model.mm_projector.").partition(".")
        return f"model.multi_modal_projector.{ {'0': 'linear_1', '2': 'linear_2'}.get(place, place) }.{kind}"
    if name.startswith("model."):
        return f"model.language_model.{name.removeprefix('model.')}"
    return name


def _tower_name(name: str) -> str:
    name = re.sub(r"^patch_embed\.", "stem.", name)
    name = re.sub(r"^conv_exp\.", "final_conv.", name)
    name = name.replace("se.reduce.", "se.fc1.").replace("se.expand.", "se.fc2.")
    if match := re.match(r"^network\.(\d+)\.(.*)$", name):
        place, rest = int(match[1]), match[2]
        if place in _STAGES:
            name = f"stages.{_STAGES.index(place)}.blocks.{rest}"
        elif place in _DOWNSAMPLES:
            name = f"stages.{_DOWNSAMPLES[place]}.downsample.{rest}"
        elif place in _POSITIONS:
            name = f"stages.{_POSITIONS[place]}.pos_emb.{rest}"
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name


def from_original(config: Mapping[str, Any], tensors: Tensors, *, image_token: int, where: object) -> NativeModel:
    """The original layout, converted. `image_token` is the id that stands for the picture, the first without a word.

    Raises ModelError where the configuration is not one of FastVLM.
    """
    expected = {"mm_projector_type": "mlp2x_gelu", "image_aspect_ratio": "pad", "mm_patch_merge_type": "flat"}
    for key, value in expected.items():
        if config.get(key) != value:
            raise ModelError(f"{key} is {config.get(key)!r}, expected {value!r}", where=where)
    renamed = _with_head({new: t for name, t in tensors.items() if (new := native_name(name)) is not None}, where)
    text = {key: config[key] for key in _TEXT_KEYS if key in config}
    tied = _is_tied(renamed)
    side = _side_of(str(config.get("mm_vision_tower")), where)
    return NativeModel(
        config={
            "text_config": {
                **text,
                "model_type": "qwen2",
                "rope_parameters": {"rope_theta": config.get("rope_theta", 1e6), "rope_type": "default"},
                "tie_word_embeddings": tied,
            },
            "vision_config": _vision_config(renamed, where),
            "image_token_index": image_token,
            "image_seq_length": (side // STRIDE) ** 2,
            "tie_word_embeddings": tied,
        },
        tensors=renamed,
        image_side=side,
    )


def from_native(config: Mapping[str, Any], tensors: Tensors, *, where: object) -> NativeModel:
    """The layout of transformers, which publishes no output layer where it is that of the input.

    Raises ModelError where the configuration does not say what a FastVLM has to know.
    """
    given = dict(config)
    for key in ("text_config", "vision_config"):
        if not isinstance(given.get(key), dict):
            raise ModelError(f"config.json has no {key}", where=where)
    tokens = given.get("image_seq_length")
    side = int(tokens**0.5) * STRIDE if isinstance(tokens, int) and tokens > 0 else 0
    if side == 0 or (side // STRIDE) ** 2 != tokens:
        raise ModelError(f"image_seq_length is {tokens!r}, expected a square", where=where)
    if not isinstance(given.get("image_token_index"), int):
        raise ModelError("config.json does not say which token is the image's", where=where)
    filled = _with_head(dict(tensors), where)
    tied = _is_tied(filled)
    given["tie_word_embeddings"] = tied
    given["text_config"] = {**given["text_config"], "tie_word_embeddings": tied}
    given["vision_config"] = _vision_config(filled, where)
    return NativeModel(config=given, tensors=filled, image_side=side)


def _is_tied(tensors: Tensors) -> bool:
    """Where the output layer is another than the input's, it is taken as it is, whatever the configuration says."""
    import torch

    head, words = tensors.get("lm_head.weight"), tensors.get("model.language_model.embed_tokens.weight")
    if head is None or words is None or head is words:
        return head is None or head is words
    return head.dtype == words.dtype and torch.equal(head, words)


def _with_head(tensors: dict[str, torch.Tensor], where: object) -> dict[str, torch.Tensor]:
    words = tensors.get("model.language_model.embed_tokens.weight")
    if words is None:
        raise ModelError("there are no word embeddings among its tensors", where=where)
    return {**tensors, "lm_head.weight": words if _is_tied(tensors) else tensors["lm_head.weight"]}


def _side_of(tower: str, where: object) -> int:
    """`mobileclip_l_1024` takes pictures of 1024 px."""
    match = re.fullmatch(r"mobileclip_\w+_(\d{2,4})", tower)
    side = int(match[1]) if match else 0
    if side == 0 or side % STRIDE:
        raise ModelError(f"mm_vision_tower is {tower!r}, expected mobileclip_<kind>_<side>", where=where)
    return side


def _vision_config(tensors: Tensors, where: object) -> dict[str, Any]:
    layers, widths, ratios = [], [], []
    for stage in range(len(_STAGES)):
        prefix = f"{_TIMM}stages.{stage}.blocks."
        blocks = {name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)}
        first = tensors.get(f"{prefix}0.mlp.fc1.weight")
        if first is None or first.ndim != 4:
            raise ModelError(f"stage {stage} of the vision tower is not among its tensors", where=where)
        layers.append(len(blocks))
        widths.append(first.shape[1])
        ratios.append(first.shape[0] // first.shape[1])
    return {
        "model_type": "timm_wrapper",
        "architecture": "fastvit_mci3",
        "do_pooling": True,
        "global_pool": "avg",
        "hidden_size": 2 * widths[-1],
        "num_features": 2 * widths[-1],
        "model_args": {"inference_mode": True, "layers": layers, "embed_dims": widths, "mlp_ratios": ratios},
    }
