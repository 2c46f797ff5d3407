"""Folders of FastVLMs: the oracle's tiny checkpoints, completed with what a native folder has besides, for tests; and
one of full size for the benchmarks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

CHAT_TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


def original_folder(oracle: Path, target: Path) -> Path:
    """The original layout, as it is published."""
    return Path(shutil.copytree(oracle / "ckpt" / "llava-fastvithd_tiny_stage2", target))


def native_folder(oracle: Path, target: Path) -> Path:
    """The native layout with tokenizer, processor and chat template, which the oracle leaves out."""
    from transformers import AddedToken, CLIPImageProcessor, LlavaProcessor, Qwen2Tokenizer

    shutil.copytree(oracle / "ckpt" / "fastvlm_native_tiny", target)
    tokenizer = Qwen2Tokenizer.from_pretrained(oracle / "ckpt" / "llava-fastvithd_tiny_stage2")
    tokenizer.add_tokens([AddedToken("<image>", special=True)])
    assert (
        tokenizer.convert_tokens_to_ids("<image>")
        == json.loads((target / "config.json").read_text())["image_token_index"]
    )
    pictures = CLIPImageProcessor(
        size={"shortest_edge": 256}, crop_size={"height": 256, "width": 256}, image_mean=[0.0] * 3, image_std=[1.0] * 3
    )
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=64,
        vision_feature_select_strategy="full",
        image_token="<image>",  # noqa: S106 - a word of the vocabulary
        chat_template=CHAT_TEMPLATE,
    )
    processor.save_pretrained(target)
    return target


def write_fastvlm(target: Path) -> Path:
    """The published 0.5B in the native layout, with seeded weights and a vocabulary of single bytes."""
    from safetensors.torch import save_file
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import AddedToken, FastVlmConfig, FastVlmForConditionalGeneration, Qwen2Tokenizer

    from sentinel_assets.vision.models.conversions import unfilled
    from tests.builders.networks import seeded

    tokenizer = Qwen2Tokenizer(vocab={word: n for n, word in enumerate(sorted(ByteLevel.alphabet()))}, merges=[])
    tokenizer.add_tokens([AddedToken(word, special=True) for word in ("<|im_start|>", "<|im_end|>")])
    tokenizer.save_pretrained(target)
    config = FastVlmConfig(
        text_config={
            "model_type": "qwen2",
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
        },
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": "fastvit_mci3",
            "do_pooling": True,
            "global_pool": "avg",
            "hidden_size": 3072,
            "num_features": 3072,
            "model_args": {"inference_mode": True},
        },
        image_token_index=151646,
        image_seq_length=256,
        tie_word_embeddings=True,
    )
    config.save_pretrained(target)
    state = seeded(unfilled(lambda: FastVlmForConditionalGeneration(config)))
    published = {
        name: t.bfloat16() if t.is_floating_point() else t for name, t in state.items() if name != "lm_head.weight"
    }
    save_file(published, target / "model.safetensors")
    return target
