"""Any image-text-to-text model that transformers knows, from a folder of this machine.

transformers chooses the classes by the folder's configuration, from among its own: code that a folder brings is refused
before (`safetensors_folder.py`), and so are pickled weights. Nothing is looked up on a hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models.fastvlm import squared
from sentinel_assets.vision.models.safetensors_folder import SafetensorsFolder
from sentinel_assets.vision.protocols import Image

SIDE = 1024
"""Pictures are given as black squares of this side, px, with the picture whole in the middle: a processor that cuts the
middle out of a picture takes nothing away from it. The model's own processor scales them to what the model takes."""


class ImageTextModel:
    """Answers greedily. `folder` has the layout of `save_pretrained`: configuration, safetensors, processor, tokenizer,
    chat template. Raises ModelError where one is missing, or transformers knows no such model."""

    def __init__(
        self, folder: Path, *, device: str | None = None, name: str = "image-text", max_tokens: int = 64
    ) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        from sentinel_assets.vision.models.batches import Batches
        from sentinel_assets.vision.models.language_devices import language_device

        SafetensorsFolder.open(folder)
        self.name = name
        self._max_tokens = max_tokens
        self._device, self._dtype = language_device(device)
        self._no_grad = torch.inference_mode
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._processor: Any = AutoProcessor.from_pretrained(folder, **local)
            network, report = AutoModelForImageTextToText.from_pretrained(
                folder, **local, use_safetensors=True, dtype=self._dtype, output_loading_info=True
            )
        except Exception as error:
            raise ModelError(
                f"transformers cannot load it as an image-text-to-text model ({type(error).__name__}: {error})"[:400],
                where=folder,
            ) from error
        for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if names := sorted(map(str, report[fault])):
                raise ModelError(f"{len(names)} tensors are {fault.removesuffix('_keys')} ({names[0]})", where=folder)
        tokenizer = getattr(self._processor, "tokenizer", None)
        if tokenizer is None or not getattr(self._processor, "chat_template", None):
            raise ModelError("its processor has no tokenizer, or no chat template", where=folder)
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._network: Any = network.requires_grad_(False).eval().to(self._device)
        # Its own configuration may say otherwise: the same pictures are to get the same sentence.
        for setting in ("temperature", "top_p", "top_k"):
            setattr(self._network.generation_config, setting, None)
        self._batches = Batches(8 if self._device.type == "cuda" else 2, name)

    def answer(self, pictures: Sequence[Sequence[Image]], questions: Sequence[str]) -> list[str]:
        """One answer for each question about its pictures (one or more, in their order)."""
        return self._batches.over(list(zip(pictures, questions, strict=True)), self._answer_batch)

    def _answer_batch(self, asked: Sequence[tuple[Sequence[Image], str]]) -> list[str]:
        from PIL import Image as Pillow

        talks = [
            [{"role": "user", "content": [{"type": "image"}] * len(images) + [{"type": "text", "text": text}]}]
            for images, text in asked
        ]
        prompts = [self._processor.apply_chat_template(talk, add_generation_prompt=True) for talk in talks]
        shown = [[Pillow.fromarray(squared(image, SIDE)) for image in images] for images, _ in asked]
        inputs = self._processor(images=shown, text=prompts, padding=True, return_tensors="pt").to(self._device)
        for key, value in inputs.items():
            if value.is_floating_point():
                inputs[key] = value.to(self._dtype)
        with self._no_grad():
            output = self._network.generate(
                **inputs, max_new_tokens=self._max_tokens, do_sample=False, num_beams=1, use_cache=True
            )
        new = output[:, inputs["input_ids"].shape[1] :]
        return [str(text) for text in self._processor.batch_decode(new, skip_special_tokens=True)]
