"""Where language models run, and in which numbers."""

from __future__ import annotations

import torch


def language_device(name: str | None) -> tuple[torch.device, torch.dtype]:
    """`name`, or the first GPU, or the CPU; with bfloat16 (which these models are published in) where the GPU has it,
    else float16, and float32 on the CPU."""
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type != "cuda":
        return device, torch.float32
    return device, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
