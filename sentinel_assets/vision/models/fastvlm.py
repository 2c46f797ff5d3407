"""FastVLM: looks at pictures and answers a question about them.

Vasu et al., "FastVLM: Efficient Vision Encoding for Vision Language Models", arXiv:2412.13303. Both published layouts
are run by transformers' classes (`fastvlm_layouts.py`); pictures and prompts are prepared here, as the authors'
`predict.py` prepares them: padded to a square with black, values in [0, 1] without further normalisation, the picture
before the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentinel_assets.vision.errors import ModelError
from sentinel_assets.vision.models import fastvlm_layouts as layouts
from sentinel_assets.vision.models.safetensors_folder import SafetensorsFolder
from sentinel_assets.vision.protocols import Image

if TYPE_CHECKING:
    import torch

MARK = "<image>"
TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n{marks}\n{question}<|im_end|>\n<|im_start|>assistant\n"
)
END = "<|im_end|>"

_WORDS = {layouts.ORIGINAL: ("vocab.json", "merges.txt", "tokenizer_config.json"), layouts.NATIVE: ("tokenizer.json",)}


class FastVlm:
    """Answers greedily, so that the same pictures and question always get the same answer.

    `folder` holds either published layout. Raises ModelError, before anything runs, where it holds something else.
    """

    def __init__(self, folder: Path, *, device: str | None = None, name: str = "fastvlm", max_tokens: int = 64) -> None:
        import torch

        from sentinel_assets.vision.models.batches import Batches
        from sentinel_assets.vision.models.checkpoints import require_finite, require_match
        from sentinel_assets.vision.models.language_devices import language_device

        self.name = name
        self._max_tokens = max_tokens
        opened = SafetensorsFolder.open(folder, model_types=(layouts.ORIGINAL, layouts.NATIVE))
        kind = opened.config["model_type"]
        for file in _WORDS[kind]:
            if not (folder / file).is_file():
                raise ModelError(f"{file} is missing: it has no tokenizer", where=folder)
        self._device, dtype = language_device(device)
        self._tokenizer = _tokenizer(folder)
        tensors = opened.tensors()
        if kind == layouts.ORIGINAL:
            words = len(self._tokenizer)
            model = layouts.from_original(opened.config, tensors, image_token=words, where=folder)
        else:
            model = layouts.from_native(opened.config, tensors, where=folder)
        require_finite(model.tensors, folder)
        self.image_side = model.image_side
        self.image_token = int(model.config["image_token_index"])
        self._dtype = dtype
        network = _unfilled(model.config, folder)
        require_match(model.tensors, network.state_dict(), folder)
        # One tensor may have two names: each is brought to the numbers to compute with once.
        cast = {id(t): t.to(dtype) if t.is_floating_point() else t for t in model.tensors.values()}
        network.load_state_dict({key: cast[id(t)] for key, t in model.tensors.items()}, assign=True)
        network.tie_weights()
        # Frequencies of positions are computed, not loaded: they are not part of a state dict.
        text = network.model.language_model
        text.rotary_emb = type(text.rotary_emb)(config=network.config.text_config)
        network.requires_grad_(False).eval()
        left = [key for key, tensor in _with_buffers(network) if tensor.is_meta]
        if left:
            raise ModelError(f"{left[0]} was not loaded", where=folder)
        self._network: Any = network.to(self._device)
        self._end = self._tokenizer.convert_tokens_to_ids(END)
        rows = network.config.text_config.vocab_size
        if not (0 <= self.image_token < rows and isinstance(self._end, int) and self._end < rows):
            raise ModelError("its tokenizer does not fit its vocabulary", where=folder)
        self._wordless = sorted({self.image_token, *range(len(self._tokenizer), rows)})
        self._batches = Batches(16 if self._device.type == "cuda" else 4, name)
        self._no_grad = torch.inference_mode

    @property
    def batch_size(self) -> int:
        return self._batches.size

    def answer(self, pictures: Sequence[Sequence[Image]], questions: Sequence[str]) -> list[str]:
        """One answer for each question about its pictures (one or more, in their order)."""
        asked = list(zip(pictures, questions, strict=True))
        return self._batches.over(asked, self._answer_batch)

    def pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """(N, 3, side, side) in [0, 1]: each image whole, in the middle of a black square."""
        import torch

        stacked = np.stack([squared(image, self.image_side) for image in images])
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255

    def prompt_ids(self, question: str, pictures: int = 1) -> list[int]:
        """The prompt's tokens, in which each picture takes as many places as it has features.

        What stands before and after a picture is tokenised on its own.
        """
        text = TEMPLATE.format(marks="\n".join([MARK] * pictures), question=question.replace(MARK, ""))
        places = [self.image_token] * (self.image_side // layouts.STRIDE) ** 2
        ids: list[int] = []
        for part, piece in enumerate(text.split(MARK)):
            ids += (places if part else []) + self._tokenizer(piece, add_special_tokens=False).input_ids
        return ids

    def generate(
        self, pictures: Sequence[Sequence[Image]], questions: Sequence[str], max_tokens: int
    ) -> list[list[int]]:
        """The tokens of each answer, without its end; prompts of different length are padded on the left."""
        import torch
        from transformers import GenerationConfig

        prompts = [self.prompt_ids(q, len(p)) for p, q in zip(pictures, questions, strict=True)]
        longest = max(map(len, prompts))
        ids = torch.tensor([[self._end] * (longest - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        pixels = self.pixels([image for group in pictures for image in group]).to(self._dtype)
        how = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_tokens,
            use_cache=True,
            eos_token_id=self._end,
            pad_token_id=self._end,
            suppress_tokens=self._wordless,
        )
        with self._no_grad():
            output = self._network.generate(
                input_ids=ids.to(self._device),
                attention_mask=mask.to(self._device),
                pixel_values=pixels.to(self._device),
                generation_config=how,
            )
        new = output[:, longest:].tolist()
        return [row[: row.index(self._end)] if self._end in row else row for row in new]

    def _answer_batch(self, asked: Sequence[tuple[Sequence[Image], str]]) -> list[str]:
        ids = self.generate([p for p, _ in asked], [q for _, q in asked], self._max_tokens)
        return [str(self._tokenizer.decode(row, skip_special_tokens=True)) for row in ids]


def squared(image: Image, side: int) -> Image:
    """The image in the middle of a black square, scaled to `side` px by Pillow's bicubic filter."""
    from PIL import Image as Pillow

    height, width = image.shape[:2]
    longer = max(width, height)
    canvas = np.zeros((longer, longer, 3), np.uint8)
    top, left = (longer - height) // 2, (longer - width) // 2
    canvas[top : top + height, left : left + width] = image
    if longer == side:
        return canvas
    return np.asarray(Pillow.fromarray(canvas).resize((side, side), Pillow.Resampling.BICUBIC))


def _tokenizer(folder: Path) -> Any:
    from transformers import Qwen2Tokenizer

    try:
        return Qwen2Tokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ModelError(f"its tokenizer cannot be read ({type(error).__name__}: {error})", where=folder) from error


def _unfilled(config: dict[str, Any], folder: Path) -> Any:
    """The network on the meta device: without memory, and without the time that filling it takes."""
    from transformers import FastVlmConfig, FastVlmForConditionalGeneration

    from sentinel_assets.vision.models.conversions import unfilled

    try:
        made = FastVlmConfig(**config)
        return unfilled(lambda: FastVlmForConditionalGeneration(made))
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise ModelError(f"no network of its configuration can be built: {error}", where=folder) from error


def _with_buffers(network: Any) -> list[tuple[str, Any]]:
    return [*network.named_parameters(), *network.named_buffers()]
