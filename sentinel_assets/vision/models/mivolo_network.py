"""The network of MiVOLO (arXiv:2307.04616): VOLO-D1 whose patches come from a face and a body at once.

All but the patch embedding is timm's VOLO. The modules are named as in the published state dict, which loads strictly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.models.volo import VOLO
from torch import Tensor, nn

PATCH = 8
"""px of the input for one token on either side."""


@dataclass(frozen=True)
class VoloSize:
    """How wide and deep; the defaults are `mivolo_d1_224`, tests use smaller ones."""

    side: int = 224
    layers: tuple[int, int, int, int] = (4, 4, 8, 2)
    dims: tuple[int, int, int, int] = (192, 384, 384, 384)
    heads: tuple[int, int, int, int] = (6, 12, 12, 12)
    stem: int = 64


def mivolo_network(size: VoloSize, *, with_bodies: bool, outputs: int) -> VOLO:
    """(N, 6, side, side), face channels first, to (N, outputs): logits of male and female and a normalised age, or the
    age alone. Without bodies the input has the face's three channels, and the network is timm's own."""
    network = VOLO(
        layers=list(size.layers),
        img_size=size.side,
        in_chans=3,
        num_classes=outputs,
        patch_size=PATCH,
        stem_hidden_dim=size.stem,
        embed_dims=list(size.dims),
        num_heads=list(size.heads),
    )
    if with_bodies:
        network.patch_embed = FaceAndBodyPatches(size.stem, size.dims[0], size.side // PATCH)
        network.in_chans = 6
    return network


class FaceAndBodyPatches(nn.Module):
    """Patches of face and body, each seen in the light of the other: (N, 6, side, side) to (N, dim, grid, grid)."""

    def __init__(self, stem: int, dim: int, grid: int) -> None:
        super().__init__()
        self.conv1, self.proj1 = _stem(stem), nn.Conv2d(stem, dim, PATCH // 2, PATCH // 2)
        self.conv2, self.proj2 = _stem(stem), nn.Conv2d(stem, dim, PATCH // 2, PATCH // 2)
        self.map = CrossAttention(dim, grid)

    def forward(self, x: Tensor) -> Tensor:
        face = self.proj1(self.conv1(x[:, :3]))
        body = self.proj2(self.conv2(x[:, 3:]))
        fused: Tensor = self.map(face, body)
        return fused


class CrossAttention(nn.Module):
    """The face's patches ask those of the body and the other way round, one head; both answers become one map."""

    def __init__(self, dim: int, grid: int) -> None:
        super().__init__()
        self.qkv_f = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.qkv_p = nn.Conv2d(dim, 3 * dim, 1, bias=False)
        self.pos_embed = RelativePositions(dim, grid)
        self.norm = nn.LayerNorm([2 * dim, grid, grid])
        self.mlp = _Mlp(2 * dim, 4 * dim, dim)
        self.scale = dim**-0.5

    def forward(self, face: Tensor, body: Tensor) -> Tensor:
        face_q, face_k, face_v = self.qkv_f(face).flatten(2).transpose(1, 2).chunk(3, dim=2)
        body_q, body_k, body_v = self.qkv_p(body).flatten(2).transpose(1, 2).chunk(3, dim=2)
        answers = [self._attend(face_q, body_k, body_v), self._attend(body_q, face_k, face_v)]
        both = torch.cat(answers, dim=2).transpose(1, 2).reshape(len(face), -1, *face.shape[2:])
        fused: Tensor = self.mlp(self.norm(both))
        return fused

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        logits = q @ k.transpose(1, 2) * self.scale + self.pos_embed(q)
        return torch.softmax(logits, dim=2) @ v


class RelativePositions(nn.Module):
    """Logits by how far a key is from a query, in rows and in columns (Srinivas et al., arXiv:2101.11605)."""

    def __init__(self, dim: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.height_rel = nn.Parameter(torch.randn(2 * grid - 1, dim) * dim**-0.5)
        self.width_rel = nn.Parameter(torch.randn(2 * grid - 1, dim) * dim**-0.5)

    def forward(self, queries: Tensor) -> Tensor:
        """Of queries (N, grid * grid, dim), row by row: (N, grid * grid, grid * grid)."""
        places = torch.arange(self.grid, device=queries.device)
        apart = places[None, :] - places[:, None] + self.grid - 1  # [query, key]
        q = queries.reshape(len(queries), self.grid, self.grid, -1)
        across = torch.einsum("nyxd,xkd->nyxk", q, self.width_rel[apart])
        down = torch.einsum("nyxd,ykd->nyxk", q, self.height_rel[apart])
        return (down[..., :, None] + across[..., None, :]).flatten(3).flatten(1, 2)


class _Mlp(nn.Module):
    def __init__(self, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Conv2d(inputs, inner, 1), nn.GELU(), nn.Conv2d(inner, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc2(self.act(self.fc1(x)))
        return x


def _stem(width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, kernel, stride in ((3, 7, 2), (width, 3, 1), (width, 3, 1)):
        conv = nn.Conv2d(inputs, width, kernel, stride, padding=kernel // 2, bias=False)
        layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
