"""Folders of tiny FastVLMs for tests: the oracle's checkpoints, completed with what a native folder has besides."""

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
