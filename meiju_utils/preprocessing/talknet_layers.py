"""The blocks TalkNet is built of: how one face track and its sound become 128 numbers a frame.

Imports torch only. Attribute names are those of the published state dict, so that its weights
load strictly; everything is for inference, without dropout. Each clip of a batch is computed on
its own: no block looks across the first axis.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TrunkLayer(nn.Module):
    """Two residual blocks of the visual trunk, `a` and `b`; `a` strides and widens.

    Batch norm follows the sum with the shortcut, and the shortcut of `b` is the sum of `a` before
    its batch norm.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1a = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1a = nn.BatchNorm2d(outputs, eps=1e-3)
        self.conv2a = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        # The published first layer, of stride 1, holds this too but passes its input on unchanged.
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.strides = stride > 1
        self.outbna = nn.BatchNorm2d(outputs, eps=1e-3)
        self.conv1b = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1b = nn.BatchNorm2d(outputs, eps=1e-3)
        self.conv2b = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.outbnb = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        shortcut = self.downsample(x) if self.strides else x
        first = self.conv2a(F.relu(self.bn1a(self.conv1a(x)))) + shortcut
        x = F.relu(self.outbna(first))
        x = self.conv2b(F.relu(self.bn1b(self.conv1b(x)))) + first
        return F.relu(self.outbnb(x))


class VisualFrontend(nn.Module):
    """A 3-D convolution over time, then an 18-layer ResNet on each frame."""

    def __init__(self) -> None:
        super().__init__()
        self.frontend3D = nn.Sequential(
            nn.Conv3d(1, 64, (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False),
            nn.BatchNorm3d(64, eps=1e-3),
            nn.ReLU(),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.resnet = nn.Sequential()
        widths = (64, 64, 128, 256, 512)
        for number in range(1, 5):
            layer = TrunkLayer(widths[number - 1], widths[number], stride=1 if number == 1 else 2)
            self.resnet.add_module(f"layer{number}", layer)

    def forward(self, faces: Tensor) -> Tensor:
        """Faces [B, T, 112, 112], normalised, to [B, T, 512]."""
        batch, frames = faces.shape[:2]
        x: Tensor = self.frontend3D(faces.unsqueeze(1))  # [B, 64, T, 28, 28]
        x = self.resnet(x.transpose(1, 2).flatten(0, 1))  # [B T, 512, 4, 4]
        return x.mean(dim=(2, 3)).view(batch, frames, 512)


class GlobalLayerNorm(nn.Module):
    """Normalises over all channels and frames of a clip; scale and shift per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to the same."""
        variance, mean = torch.var_mean(x, dim=(1, 2), correction=0, keepdim=True)
        return self.gamma * (x - mean) / torch.sqrt(variance + 1e-8) + self.beta


class TemporalBlock(nn.Module):
    """A residual depthwise-separable convolution over time."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ReLU(),
            nn.BatchNorm1d(512),
            nn.Conv1d(512, 512, 3, padding=1, groups=512, bias=False),
            nn.PReLU(),
            GlobalLayerNorm(512),
            nn.Conv1d(512, 512, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, 512, T] to the same."""
        change: Tensor = self.net(x)
        return x + change


class Chain(nn.Module):
    """Layers in a row, held under the name `net` as in the published state dict."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Whatever the first layer takes to whatever the last one gives."""
        output: Tensor = self.net(x)
        return output


def visual_temporal_network() -> Chain:
    """Five residual temporal blocks: [B, 512, T] to the same."""
    return Chain(*(TemporalBlock() for _ in range(5)))


def visual_projection() -> Chain:
    """The convolutions from the 512 trunk channels to the 128 of the embedding, over time."""
    return Chain(
        nn.Conv1d(512, 256, 5, padding=2), nn.BatchNorm1d(256), nn.ReLU(), nn.Conv1d(256, 128, 1)
    )


class SqueezeExcitation(nn.Module):
    """Weighs each channel by a gate read from the means of all channels (reduction 8)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // 8),
            nn.ReLU(),
            nn.Linear(channels // 8, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same."""
        gate: Tensor = self.fc(x.mean(dim=(2, 3)))
        return x * gate[:, :, None, None]


class AudioBlock(nn.Module):
    """Residual squeeze-excitation block; its first batch norm comes after the ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.se = SqueezeExcitation(outputs)
        self.downsample = (
            nn.Identity()
            if inputs == outputs
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        y = self.bn1(F.relu(self.conv1(x)))
        return F.relu(self.se(self.bn2(self.conv2(y))) + self.downsample(x))


class AudioEncoder(nn.Module):
    """Squeeze-excitation ResNet-34 on the MFCCs, seen as a picture of coefficients by time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 7, stride=(2, 1), padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks=3, stride=1)
        self.layer2 = self._stage(16, 32, blocks=4, stride=2)
        self.layer3 = self._stage(32, 64, blocks=6, stride=2)
        self.layer4 = self._stage(64, 128, blocks=3, stride=1)

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        rest = [AudioBlock(outputs, outputs, 1) for _ in range(blocks - 1)]
        return nn.Sequential(AudioBlock(inputs, outputs, stride), *rest)

    def forward(self, mfcc: Tensor) -> Tensor:
        """[B, 4T, 13] to [B, T, 128]: both strided stages halve the frame rate."""
        x: Tensor = self.conv1(mfcc.transpose(1, 2).unsqueeze(1))  # [B, 16, 7, 4T]
        x = self.layer2(self.layer1(F.relu(self.bn1(x))))
        x = self.layer4(self.layer3(x))  # [B, 128, 2, T]
        return x.mean(dim=2).transpose(1, 2)


class Attention(nn.Module):
    """Post-norm Transformer layer, 8 heads, whose queries may come from another sequence."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, num_heads=8, batch_first=True)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, own: Tensor, query: Tensor) -> Tensor:
        """[B, T, width] twice to one; keys, values and the residual are `own`."""
        attended, _ = self.self_attn(query, own, own, need_weights=False)
        x = self.norm1(own + attended)
        output: Tensor = self.norm2(x + self.linear2(F.relu(self.linear1(x))))
        return output


class Backbone(nn.Module):
    """Everything of TalkNet but its classifiers; `TalkNet` says how data flows through it."""

    def __init__(self) -> None:
        super().__init__()
        self.visualFrontend = VisualFrontend()
        self.visualTCN = visual_temporal_network()
        self.visualConv1D = visual_projection()
        self.audioEncoder = AudioEncoder()
        self.crossA2V = Attention(128)
        self.crossV2A = Attention(128)
        self.selfAV = Attention(256)


class Classifier(nn.Module):
    """A linear layer to the two classes, silent and speaking."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.FC = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] to logits [B, T, 2]."""
        logits: Tensor = self.FC(x)
        return logits
