"""HRNet-W32 with two heads, as MEBOW publishes it: 17 keypoint heatmaps and 72 bins of body orientation.

Wang et al., Deep High-Resolution Representation Learning (arXiv:1908.07919); Wu et al., MEBOW (arXiv:2011.13688).
The modules are named as in the published state dict, which loads strictly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class HrnetSize:
    """How wide and deep; the defaults are those of `segm-4_lr1e-3.yaml`, tests use smaller ones."""

    width: int = 32
    """Channels of the branch of highest resolution; each further branch has twice as many."""
    stem: int = 64
    modules: tuple[int, int, int] = (1, 4, 3)
    """Of the stages 2, 3 and 4."""
    blocks: int = 4
    orientation: tuple[int, int, int] = (128, 256, 512)
    """Channels of the three layers of the orientation head."""
    keypoints: int = 17
    bins: int = 72

    def branches(self, count: int) -> list[int]:
        return [self.width * 2**i for i in range(count)]


class OrientedHrnet(nn.Module):
    """Crops (N, 3, 256, 192) to heatmaps (N, 17, 64, 48) and the distribution of orientation (N, 72), which sums to 1.

    Other sizes work too where both sides are multiples of 32.
    """

    def __init__(self, size: HrnetSize | None = None) -> None:
        super().__init__()
        size = size or HrnetSize()
        self.conv1, self.bn1 = _conv(3, size.stem, 3, 2), nn.BatchNorm2d(size.stem)
        self.conv2, self.bn2 = _conv(size.stem, size.stem, 3, 2), nn.BatchNorm2d(size.stem)
        self.layer1 = nn.Sequential(
            _Bottleneck(size.stem, size.stem), *(_Bottleneck(4 * size.stem, size.stem) for _ in range(3))
        )
        two, three, four = (size.branches(count) for count in (2, 3, 4))
        self.transition1 = _transition([4 * size.stem], two)
        self.stage2 = nn.ModuleList(_Module(two, size.blocks) for _ in range(size.modules[0]))
        self.transition2 = _transition(two, three)
        self.stage3 = nn.ModuleList(_Module(three, size.blocks) for _ in range(size.modules[1]))
        self.transition3 = _transition(three, four)
        last = size.modules[2] - 1
        self.stage4 = nn.ModuleList(
            _Module(four, size.blocks, outputs=1 if index == last else 4) for index in range(size.modules[2])
        )
        self.final_layer = nn.Conv2d(size.width, size.keypoints, 1)
        narrow, middle, wide = size.orientation
        self.hoe_layer2 = _two_blocks(3 * size.width, narrow)
        self.hoe_layer3 = _two_blocks(narrow, middle)
        self.hoe_layer4 = _two_blocks(middle, wide)
        self.hoe_fc = nn.Linear(wide, size.bins)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.bn1(self.conv1(crops)))
        x = torch.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        second = _through(self.stage2, _enter(self.transition1, [x]))
        third = _through(self.stage3, _enter(self.transition2, second))
        fourth = _through(self.stage4, _enter(self.transition3, third))
        heatmaps: Tensor = self.final_layer(fourth[0])
        y = torch.cat([second[0], third[0], fourth[0]], dim=1)
        y = self.hoe_layer4(self.hoe_layer3(self.hoe_layer2(y)))
        bins = self.hoe_fc(y.mean(dim=(2, 3)))
        return heatmaps.float(), torch.softmax(bins.float(), dim=1)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class _Block(nn.Module):
    """Two 3x3 convolutions and the way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.downsample = None if same else _projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + around)


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to four times as many channels, and the way around them."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = _conv(inner, inner, 3), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = _conv(inner, 4 * inner, 1), nn.BatchNorm2d(4 * inner)
        self.downsample = None if inputs == 4 * inner else _projection(inputs, 4 * inner, 1)

    def forward(self, x: Tensor) -> Tensor:
        around = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + around)


class _Module(nn.Module):
    """Parallel branches, then each of the first `outputs` branches gets the sum of all."""

    def __init__(self, widths: Sequence[int], blocks: int, outputs: int | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(_Block(width, width) for _ in range(blocks))) for width in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(widths, source, target) for source in range(len(widths)))
            for target in range(outputs or len(widths))
        )

    def forward(self, given: list[Tensor]) -> list[Tensor]:
        branches = [branch(x) for branch, x in zip(self.branches, given, strict=True)]
        fused = []
        for layers in self.fuse_layers:
            assert isinstance(layers, nn.ModuleList)
            first, *others = (layer(branch) for layer, branch in zip(layers, branches, strict=True))
            fused.append(torch.relu(sum(others, start=first)))
        return fused


def _exchange(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """How what one branch sees reaches another."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            *_projection(widths[source], widths[target], 1), nn.Upsample(scale_factor=2 ** (source - target))
        )
    steps: list[nn.Module] = []
    for step in range(source, target):
        is_last = step == target - 1
        outputs = widths[target] if is_last else widths[source]
        layers = [_conv(widths[source], outputs, 3, 2), nn.BatchNorm2d(outputs)]
        steps.append(nn.Sequential(*layers) if is_last else nn.Sequential(*layers, nn.ReLU()))
    return nn.Sequential(*steps)


def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    """Into the branches of the next stage; the last one is new, from the coarsest that there is."""
    layers: list[nn.Module] = []
    for index, width in enumerate(after):
        if index >= len(before):
            layer = nn.Sequential(_conv(before[-1], width, 3, 2), nn.BatchNorm2d(width), nn.ReLU())
            layers.append(nn.Sequential(layer))
        elif before[index] == width:
            layers.append(nn.Identity())
        else:
            layers.append(nn.Sequential(_conv(before[index], width, 3), nn.BatchNorm2d(width), nn.ReLU()))
    return nn.ModuleList(layers)


def _enter(transition: nn.ModuleList, branches: Sequence[Tensor]) -> list[Tensor]:
    return [layer(branches[min(index, len(branches) - 1)]) for index, layer in enumerate(transition)]


def _through(stage: nn.ModuleList, branches: list[Tensor]) -> list[Tensor]:
    for module in stage:
        branches = module(branches)
    return branches


def _two_blocks(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_Block(inputs, outputs, 2), _Block(outputs, outputs))
