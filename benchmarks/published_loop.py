"""A training loop of the published kind: what `joint_training.py` measures ours against.

The network of the official baseline in plain torch modules, under its published names, so that its
weights load into ours and both can be seen to compute the same. The loop has one .npy file a clip
and modality, read, padded to the batch's longest and collated by a DataLoader; one module for each
part of each task; gradients clipped part by part; torch's default Adam; no masking.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

TASKS = {"Emo": 7, "Int": 8}
HIDDEN = 128
HEIGHTS = (2, 3, 4)


class Lstm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(width, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0].amax(dim=1)


class TextCnn(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            nn.Conv2d(1, HIDDEN, (height, width)) for height in HEIGHTS
        )
        self.embd = nn.Sequential(nn.Linear(3 * HIDDEN, HIDDEN), nn.ReLU())
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        image = x.unsqueeze(1)
        found = [
            F.relu(conv(image)).amax(dim=(2, 3)) for conv in (self.conv1, self.conv2, self.conv3)
        ]
        return self.embd(self.dropout(torch.cat(found, dim=1)))


class Interaction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inter_attention = nn.MultiheadAttention(HIDDEN, 1)
        self.hence_attention = nn.MultiheadAttention(HIDDEN, 1)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        first = self.inter_attention(own, other, other)[0]
        second = self.hence_attention(own, first, first)[0]
        return own + second * torch.sigmoid(first + second)


class Classifier(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.module = nn.Sequential(
            *(nn.Linear(3 * HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(0.2)),
            *(nn.Linear(HIDDEN, HIDDEN // 2), nn.ReLU(), nn.Dropout(0.2)),
        )
        self.fc_out = nn.Linear(HIDDEN // 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc_out(self.module(x))


class PublishedNetwork(nn.ModuleDict):
    """Stage "joint" of the official baseline; stage "pretrain" leaves some parts out."""

    def __init__(self, widths: Mapping[str, int], joint: bool) -> None:
        super().__init__()
        self.joint = joint
        for own, classes in TASKS.items():
            self[f"{own}A"], self[f"{own}V"] = Lstm(widths["audio"]), Lstm(widths["visual"])
            self[f"{own}L"] = TextCnn(widths["text"])
            layer = nn.TransformerEncoderLayer(HIDDEN, 2)
            self[f"{own}Fusion"] = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self[f"{own}C"] = Classifier(classes)
            if joint:
                self[f"{own}CF"] = Classifier(classes)
        if joint:
            self["Emo_Int_interaction"], self["Int_Emo_interaction"] = Interaction(), Interaction()

    def forward(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Logits of emotion, intent and, in the joint stage, the auxiliary ones of both."""
        tokens, fused = {}, {}
        for own in TASKS:
            embedded = [
                self[f"{own}V"](features["visual"]),
                self[f"{own}A"](features["audio"]),
                self[f"{own}L"](features["text"]),
            ]
            tokens[own] = torch.stack(embedded)  # [modalities, B, H]
            fused[own] = self[f"{own}Fusion"](tokens[own])
        last = fused
        if self.joint:
            last = {
                "Emo": self["Emo_Int_interaction"](fused["Emo"], fused["Int"]),
                "Int": self["Int_Emo_interaction"](fused["Int"], fused["Emo"]),
            }
        logits = [self[f"{own}C"](torch.cat(list(last[own]), dim=1)) for own in TASKS]
        if self.joint:
            logits += [self[f"{own}CF"](torch.cat(list(tokens[own]), dim=1)) for own in TASKS]
        return logits


class ClipFiles(Dataset[tuple[dict[str, Tensor], int, int]]):
    """Features from `<folder>/<modality>/<clip_id>.npy`, read whenever a clip is asked for."""

    def __init__(self, folder: Path, clips: Sequence[tuple[str, int, int]]) -> None:
        self.folder, self.clips = folder, clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], int, int]:
        clip_id, emotion, intent = self.clips[index]
        features = {
            modality: torch.from_numpy(np.load(self.folder / modality / f"{clip_id}.npy"))
            for modality in ("audio", "visual", "text")
        }
        return features, emotion, intent


def collate(
    items: Sequence[tuple[dict[str, Tensor], int, int]],
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Zeros behind the shorter clips; a text has at least as many rows as the tallest kernel."""
    padded: dict[str, Tensor] = {}
    for modality in items[0][0]:
        x = pad_sequence([features[modality] for features, *_ in items], batch_first=True)
        if modality == "text" and x.shape[1] < HEIGHTS[-1]:
            x = F.pad(x, (0, 0, 0, HEIGHTS[-1] - x.shape[1]))
        padded[modality] = x
    return padded, [torch.tensor([item[task] for item in items]) for task in (1, 2)]


def epochs(
    folder: Path,
    clips: Mapping[str, Sequence[tuple[str, int, int]]],
    widths: Mapping[str, int],
    joint: bool,
) -> Iterator[dict[str, Any]]:
    """Train on and on; after each epoch its mean loss and the validation clips right of each task.

    `clips` has (clip id, emotion, intent) of train and valid.
    """
    torch.manual_seed(0)
    network = PublishedNetwork(widths, joint)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
    train, valid = (
        DataLoader(ClipFiles(folder, clips[split]), 32, shuffle=True, collate_fn=collate)
        for split in ("train", "valid")
    )
    while True:
        network.train()
        losses = []
        for features, labels in train:
            logits = network(features)
            loss = torch.stack(
                [F.cross_entropy(x, labels[i % 2]) for i, x in enumerate(logits)]
            ).sum()
            optimizer.zero_grad()
            loss.backward()
            for part in network.values():
                nn.utils.clip_grad_norm_(part.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        network.eval()
        right = torch.zeros(2)
        with torch.no_grad():
            for features, labels in valid:
                logits = network(features)
                right += torch.stack([(logits[i].argmax(1) == labels[i]).sum() for i in (0, 1)])
        yield {"loss": float(np.mean(losses)), "right": right.tolist()}
