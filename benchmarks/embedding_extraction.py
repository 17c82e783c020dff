"""Clips a second: our extraction against a script of the published kind, one clip at a time.

    python benchmarks/embedding_extraction.py [--rounds 3] [--only text] [--cores 2]

BERT-base on subtitles, ViT-B/16 on face crops, HuBERT-base on speech, with equal random weights,
on 64 clips made for the occasion, on two cores: our two workers of one thread each, the script with
torch's two threads (or one and one). Both sides read each clip's file, run the model, keep the sum
of the last four layers (text, audio) or the pooled output (visual), and write the result: we into a
feature store, the script as one .npy file a clip. Rounds alternate, after one that warms up, in
which both load their model (the rounds timed do not) and must give the same. The share of this
machine's peak is the model's floating-point operations in our extraction, by torch's own
count, against a large matrix product of as many threads measured right before and after.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest import mock

import numpy as np
import timm
import torch
from peak import peak
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from timm.models._hub import save_for_hf
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
    HubertConfig,
    HubertModel,
    Wav2Vec2FeatureExtractor,
)

from meiju_utils.challenge import Modality
from meiju_utils.config import EncoderConfig, load_profile
from meiju_utils.embeddings import FeatureStore, extract_features
from meiju_utils.preprocessing.manifest import ShardWriter, read_rows
from meiju_utils.preprocessing.store import Preprocessed, serve
from meiju_utils.run import Run

CLIPS = 64
RATE = 16000
LAST_FOUR = [-4, -3, -2, -1]
MODALITIES: tuple[Modality, ...] = ("text", "visual", "audio")
CHARACTERS = [chr(0x4E00 + i) for i in range(3000)] + list("，。？！")


@dataclass(frozen=True)
class Bench:
    """A folder with checkpoints and preprocessed clips, which both sides read."""

    folder: Path
    clips: Preprocessed
    cores: int = 2

    @property
    def configs(self) -> dict[Modality, EncoderConfig]:
        at = self.folder
        return {
            "text": EncoderConfig(name=f"hf:{at}/bert", layers=LAST_FOUR, level="frame"),
            "visual": EncoderConfig(name=f"timm:{at}/vit", level="frame"),
            "audio": EncoderConfig(name=f"hf:{at}/hubert", layers=LAST_FOUR, level="frame"),
        }

    def ours(self, modality: Modality, target: Path, workers: int | None = None) -> FeatureStore:
        settings = {"parallel.workers": workers or self.cores, "embeddings.device": "cpu"}
        profile = load_profile("demo", {"parallel.backend": "loky", **settings})
        run = Run(profile, data_dir=self.folder, folder=target)
        return extract_features(run, modality, self.configs[modality], self.clips)

    def script(self, modality: Modality) -> Callable[[Path], None]:
        """The script with its model loaded; called with the folder to write."""
        encode = {"text": self._texts, "visual": self._faces, "audio": self._sounds}[modality]()

        def write(target: Path) -> None:
            target.mkdir()
            for clip_id in self.clips.clip_ids:
                with torch.no_grad():
                    np.save(target / f"{clip_id}.npy", encode(clip_id).numpy())

        return write

    def _texts(self) -> Callable[[str], torch.Tensor]:
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "bert")
        model = AutoModel.from_pretrained(self.folder / "bert").eval()

        def encode(clip_id: str) -> torch.Tensor:
            inputs = tokenizer(self.clips.text(clip_id), return_tensors="pt")
            states = model(**inputs, output_hidden_states=True).hidden_states
            return torch.stack(states)[LAST_FOUR].sum(dim=0)[0, 1:-1]

        return encode

    def _faces(self) -> Callable[[str], torch.Tensor]:
        model = timm.create_model(f"local-dir:{self.folder / 'vit'}", pretrained=True).eval()
        transform: Any = create_transform(**resolve_model_data_config(model), is_training=False)

        def encode(clip_id: str) -> torch.Tensor:
            crops = [transform(Image.fromarray(crop)) for crop in self.clips.faces(clip_id)]
            return model(torch.stack(crops))

        return encode

    def _sounds(self) -> Callable[[str], torch.Tensor]:
        extractor = AutoFeatureExtractor.from_pretrained(self.folder / "hubert")
        model = AutoModel.from_pretrained(self.folder / "hubert").eval()

        def encode(clip_id: str) -> torch.Tensor:
            samples = self.clips.audio(clip_id)
            inputs = extractor(samples, sampling_rate=RATE, return_tensors="pt").input_values
            states = model(inputs, output_hidden_states=True).hidden_states
            return torch.stack(states)[LAST_FOUR].sum(dim=0)[0]

        return encode


def make_bench(folder: Path, cores: int) -> Bench:
    """64 clips of 1.5 to 6 s, one face crop in 1.2 s, subtitles of 5 to 30 characters."""
    torch.manual_seed(0)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS]
    words = {word: number for number, word in enumerate(vocabulary)}
    BertTokenizer(vocab=words).save_pretrained(folder / "bert")
    BertModel(BertConfig(vocab_size=21128)).save_pretrained(folder / "bert")
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder / "hubert")
    HubertModel(HubertConfig()).save_pretrained(folder / "hubert")
    vit = timm.create_model("vit_base_patch16_224", num_classes=0)
    save_for_hf(vit, folder / "vit", model_config={"num_classes": 0})
    chance = np.random.default_rng(0)
    texts = {}
    store = folder / "preprocessed"
    writer = ShardWriter(store)
    for number in range(CLIPS):
        clip_id = f"{number:05}"
        seconds = chance.uniform(1.5, 6)
        samples = chance.normal(0, 0.1, round(seconds * RATE)).astype(np.float32)
        crops = chance.integers(0, 255, (1 + int(seconds / 1.2), 112, 112, 3), dtype=np.uint8)
        sound = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
        writer.add({"clip_id": clip_id, "flags": "[]"}, {"audio": sound, "crops": crops})
        texts[clip_id] = "".join(chance.choice(CHARACTERS, chance.integers(5, 31)))
    writer.flush()
    return Bench(folder, serve("bench", store, texts, read_rows(store)), cores)


def timed(function: Callable[[Path], Any]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        function(Path(folder) / "run")
        return perf_counter() - started


def operations(bench: Bench, modality: Modality) -> float:
    # the counter does not see parametrised weights (HuBERT's positions) in inference mode
    no_grad = mock.patch("torch.inference_mode", torch.no_grad)
    with (
        no_grad,
        FlopCounterMode(display=False) as counter,
        tempfile.TemporaryDirectory() as folder,
    ):
        bench.ours(modality, Path(folder) / "run", workers=1)  # in this process
    return float(counter.get_total_flops())


def check_equal(bench: Bench, modality: Modality, script: Callable[[Path], None]) -> None:
    """Both sides once, which warms them up: the same embeddings of every clip."""
    with tempfile.TemporaryDirectory() as folder:
        store, files = bench.ours(modality, Path(folder) / "run"), Path(folder) / "script"
        script(files)
        for clip_id in bench.clips.clip_ids:
            theirs = np.load(files / f"{clip_id}.npy")
            np.testing.assert_allclose(store.get(clip_id), theirs, atol=1e-3, rtol=1e-3)


def compare(bench: Bench, modality: Modality, rounds: int) -> str:
    operations_of_ours = operations(bench, modality)
    script = bench.script(modality)
    check_equal(bench, modality, script)
    ours: list[float] = []
    theirs: list[float] = []
    shares: list[float] = []
    for _ in range(rounds):
        before = peak()
        ours.append(timed(partial(bench.ours, modality)))
        after = peak()
        theirs.append(timed(script))
        shares.append(operations_of_ours / ours[-1] / ((before + after) / 2))
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    return (
        f"{modality:<8}{CLIPS / median(ours):8.2f}{CLIPS / median(theirs):8.2f}"
        f"{median(ratios):8.2f} ({min(ratios):.2f}-{max(ratios):.2f}){median(shares):8.0%}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=MODALITIES)
    parser.add_argument("--cores", type=int, choices=(1, 2), default=2)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.cores)
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(Path(folder), chosen.cores)
        print(f"{CLIPS} clips, cores: {chosen.cores}, median of {chosen.rounds} rounds, float32")
        print("             ours  script   ratio (range)  share of the peak")
        for modality in MODALITIES:
            if chosen.only in (None, modality):
                print(compare(bench, modality, chosen.rounds), flush=True)


if __name__ == "__main__":
    main()
