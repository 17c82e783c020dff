"""Inputs made to do harm: none runs code, reaches the network, hangs or ends in a traceback."""

import io
import json
import os
import pickle
import signal
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meiju_utils.bundle import Predictor
from meiju_utils.config import EncoderConfig, load_profile
from meiju_utils.corpus.fingerprints import look_at
from meiju_utils.corpus.official import survey_corpus
from meiju_utils.corpus.own_table import read_own_table
from meiju_utils.embeddings.base import EncoderContext
from meiju_utils.embeddings.encoders import make_encoder
from meiju_utils.embeddings.npy import read_npy
from meiju_utils.embeddings.shards import write_shard
from meiju_utils.embeddings.store import FeatureStore
from meiju_utils.errors import MediaError, MeijuError
from meiju_utils.files import write_record
from meiju_utils.media.reading import read_media
from meiju_utils.preprocessing.corrections import read_corrections
from meiju_utils.submission.checker import OFFICIAL, check_submission
from meiju_utils.submission.ledger_file import read_file
from tests.conftest import Record

LONGEST_S = 60  # seconds an input may take; mostly far less than one


class Harm:
    """What unpickling would run: it leaves a file."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sentinel),)


def header(length: int, text: bytes = b"{}") -> bytes:
    """The beginning of a safetensors file that claims so long a header."""
    return struct.pack("<Q", length) + text


def npy(head: str, data: bytes = b"") -> bytes:
    """A .npy file with a header of one's own."""
    text = head.encode("latin1").ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def claims(shape: str, kind: str = "<f4") -> bytes:
    return npy(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}", b"\0" * 64)


def zipped(*members: tuple[str, bytes], deflated: bool = False) -> bytes:
    data = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(data, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return data.getvalue()


NOISE = bytes(np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8))
PLAYLIST = (
    b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
)
VIDEOS = {
    "playlist": PLAYLIST,
    "playlist of a local file": PLAYLIST.replace(b"http://127.0.0.1:9/a.ts", b"/etc/passwd"),
    "concat script": b"ffconcat version 1.0\nfile /etc/passwd\nfile http://127.0.0.1:9/a\n",
    "session description": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\n"
    b"m=video 9 RTP/AVP 96\n",
    "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    "empty": b"",
    "noise": NOISE,
    "text": b"hello\n" * 100,
    "html": b"<html><body>404</body></html>",
    "mp4 box of 2^63 bytes": struct.pack(">I4sQ", 1, b"ftyp", 2**63 - 1),
    "mp4 boxes within boxes": b"".join(
        struct.pack(">I4s", 2**31 - 1, b"moov") for _ in range(3000)
    ),
    "avi of no frames": b"RIFF" + struct.pack("<I", 2**32 - 1) + b"AVI LIST" + NOISE[:64],
    "ogg noise": b"OggS" + NOISE,
    "matroska of unknown length": b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 64,
    "mpeg noise": b"\x00\x00\x01\xba" + NOISE,
    "picture of 60000 x 60000": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    + b"\0" * 64,
}
PROFILES = {
    "a python object": b"a: !!python/object/apply:os.mkdir [SENTINEL]\n",
    "a python name": b"training: !!python/name:os.system\n",
    "itself": b"a: &a [*a]\n",
    "aliases of aliases": b"".join(
        b"l%d: &l%d [%s]\n" % (i, i, b",".join([b"*l%d" % (i - 1)] * 9) if i else b"1")
        for i in range(20)
    ),
    "depth": b"a: " + b"[" * 20000,
    "noise": NOISE,
    "nul": b"track: 1\0\n",
    "utf-16": "track: 1\n".encode("utf-16"),
    "a date": b"track: 2020-99-99\n",
    "two documents": b"a: 1\n---\nb: 2\n",
    "one line of 2 MB": b"a: " + b"x" * 2_000_000,
    "huge numbers": b"training: {epochs: 1e999, batch_size: 99999999999999999999}\n",
    "a path": b"recipes: ../../../../etc/passwd\ntrack: 1\nlanguage: mandarin\n",
}
ARRAYS = {
    "pickle": b"",  # made below
    "10^14 values": claims("(100000000000000,)"),
    "2^64 values": claims("(4294967296, 4294967296)"),
    "negative": claims("(-3, 5)"),
    "code as a shape": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (print(1),)}"),
    "a header of nothing": npy(""),
    "a deep header": npy("(" * 110),
    "objects": claims("(3,)", "|O"),
    "words": claims("(4,)", "<U4"),
    "no dimension": claims("()"),
    "noise": NOISE,
    "an archive": zipped(("a.npy", claims("(2,)"))),
}
CHECKPOINTS: dict[str, dict[str, bytes]] = {
    "pickled weights": {"config.json": b'{"model_type": "bert"}', "pytorch_model.bin": b"PICKLE"},
    "code of its own": {
        "config.json": b'{"model_type": "own", "auto_map": {"AutoModel": "m.Own"}}',
        "m.py": b"import os; os.mkdir(SENTINEL)",
    },
    "depth": {"config.json": b"[" * 100_000, "model.safetensors": header(2)},
    "a list": {"config.json": b"[1, 2]", "model.safetensors": header(2)},
    "a header of 2^63 bytes": {
        "config.json": b'{"model_type": "bert"}',
        "model.safetensors": header(2**63),
    },
    "noise": {"config.json": NOISE, "model.safetensors": NOISE},
    "a tokenizer of noise": {
        "config.json": b'{"model_type": "bert"}',
        "model.safetensors": header(2),
        "tokenizer.json": NOISE,
    },
}
TABLES = {
    "names that lead out": b"../../../etc/passwd.mp4 happy agreeing\n/etc/shadow.mp4 sad wishing\n",
    "one line of 5 MB": b"x" * 5_000_000,
    "noise": NOISE,
    "quotes without end": b'"a,"b\n' * 1000,
    "nul": b"a\0.mp4 happy agreeing\n",
    "escape codes": b"\x1b[2J\x1b]0;owned\x07.mp4 happy agreeing\n",
    "directions": "\u202egpj.\u202c4pm happy agreeing\n".encode(),
    "a formula": b"=cmd|'/C calc'!A0.mp4 happy agreeing\n",
    "100 000 fields": b"a" + b",b" * 100_000 + b"\n",
    "markup": b"<script>alert(1)</script>.mp4 happy agreeing\nA$x^$.mp4 sad wishing\n",
}
SUBMISSIONS = {
    "a bomb": zipped(("submission.csv", b"\0" * 200_000_000), deflated=True),
    "names that lead out": zipped(("../../submission.csv", b"x")),
    "an archive in an archive": zipped(("submission.csv", zipped(("submission.csv", b"x")))),
    "half an archive": zipped(("submission.csv", b"x" * 1000))[:600],
    "noise": NOISE,
    "utf-16": "filename,emo_pred,int_pred\n".encode("utf-16"),
    "100 000 columns": b"filename" + b",x" * 100_000 + b"\n",
    "escape codes": b"filename,emo_pred,int_pred\n\x1b[2J,\x1b[31m,x\n",
    "one line of 20 MB": b"x" * 20_000_000,
    "quotes without end": b'filename,emo_pred,int_pred\n"' + b"a\n" * 100_000,
}
Door = Callable[[Path, Path], Any]  # a folder to put it in, a path that no code may make


def _video(content: bytes, name: str = "a.mp4") -> Door:
    def door(folder: Path, sentinel: Path) -> None:
        path = folder / name
        path.write_bytes(content)
        assert look_at(path, deep=True).fault
        with pytest.raises(MediaError):
            read_media(path)

    return door


def _profile(content: bytes) -> Door:
    def door(folder: Path, sentinel: Path) -> None:
        path = folder / "own.yaml"
        path.write_bytes(content.replace(b"SENTINEL", str(sentinel).encode()))
        load_profile(str(path))

    return door


def _array(content: bytes) -> Door:
    def door(folder: Path, sentinel: Path) -> None:
        if not content:
            with (folder / "a.npy").open("wb") as file:
                np.save(file, np.array([Harm(sentinel)], dtype=object), allow_pickle=True)
        else:
            (folder / "a.npy").write_bytes(content)
        read_npy(folder, "a")

    return door


def _checkpoint(files: dict[str, bytes]) -> Door:
    def door(folder: Path, sentinel: Path) -> None:
        for name, content in files.items():
            told = content.replace(b"SENTINEL", repr(str(sentinel)).encode())
            (folder / name).write_bytes(pickle.dumps(Harm(sentinel)) if told == b"PICKLE" else told)
        config = EncoderConfig(name=f"hf:{folder}")
        make_encoder("text", config, EncoderContext(run_dir=folder)).load()

    return door


def _list(content: bytes) -> Door:
    def door(folder: Path, sentinel: Path) -> None:
        lists = folder / "Track1" / "Annotation"
        lists.mkdir(parents=True)
        (folder / "Track1" / "Training").mkdir()
        for name in ("Training_files.txt", "Validation_files.txt", "Training_transcription.csv"):
            (lists / name).write_bytes(content)
        assert survey_corpus(folder, OFFICIAL).faults
        (folder / "clips.csv").write_bytes(content)
        assert read_own_table(folder, None, "mandarin").faults
        path = folder / "corrections.csv"
        path.write_bytes(content)
        read_corrections(path, {"a"})

    return door


def _submission(content: bytes, name: str) -> Door:
    def door(folder: Path, sentinel: Path) -> None:
        (folder / name).write_bytes(content)
        assert check_submission(folder / name, ["a"]).faults
        read_file(folder / name)  # as a ledger

    return door


def _pipe(folder: Path, sentinel: Path) -> None:
    for name, door in (("a.mp4", look_at), ("a.csv", check_submission)):
        os.mkfifo(folder / name)
        with suppress(MeijuError):
            door(folder / name, ["a"])  # type: ignore[operator]


def _store(clip_id: str) -> Door:
    def door(folder: Path, sentinel: Path) -> None:
        store, out = folder / "store", folder / "out"
        write_record(store / "meta.json", {"key": "k", "modality": "text", "encoder": "x"})
        write_shard(store, 0, {clip_id: np.ones((1, 2), np.float32)}, {})
        FeatureStore(store).export(out)

    return door


def _bundle(content: bytes) -> Door:
    def door(folder: Path, sentinel: Path) -> None:
        (folder / "bundle.json").write_bytes(content)
        Predictor.load(folder)

    return door


def _doors() -> Iterator[tuple[str, Door]]:
    for name, content in VIDEOS.items():
        yield f"video: {name}", _video(content)
    for name in ("http:a.mp4", "%03d.mp4", "-vf.mp4", "A$x^$.mp4", "a\nb.mp4", "concat:a|b.mp4"):
        yield f"video named {name!r}", _video(NOISE, name)
    for name, content in PROFILES.items():
        yield f"profile: {name}", _profile(content)
    for name, content in ARRAYS.items():
        yield f".npy: {name}", _array(content)
    for name, files in CHECKPOINTS.items():
        yield f"checkpoint: {name}", _checkpoint(files)
    for name, content in TABLES.items():
        yield f"list or table: {name}", _list(content)
    for name, content in SUBMISSIONS.items():
        yield f"submission: {name}", _submission(content, "submission.zip")
        yield f"submission as CSV: {name}", _submission(content, "submission.csv")
    for clip_id in ("../out", "/etc/x", "..", "a/b", "a\0b"):
        yield f"store with the id {clip_id!r}", _store(clip_id)
    for name, content in (("noise", NOISE), ("depth", b"[" * 10**6), ("a list", b"[]")):
        yield f"bundle: {name}", _bundle(content)
    yield (
        "bundle: files outside",
        _bundle(json.dumps({"files": {"../../etc/passwd": "0"}, "format": 1}).encode()),
    )
    yield "pipes", _pipe


DOORS = dict(_doors())


@pytest.mark.parametrize("name", DOORS)
def test_it_is_refused_or_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    sentinel = tmp_path / "code was run"
    folder = tmp_path / "input"
    folder.mkdir()

    def too_long(*_: object) -> None:
        raise TimeoutError(f"{name} takes more than {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LONGEST_S)
    try:
        with suppress(MeijuError):
            DOORS[name](folder, sentinel)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert not sentinel.exists()
    assert asked == []
    assert {path.name for path in tmp_path.iterdir()} == {"input"}


def test_these_are_many(record: Record) -> None:
    assert len(DOORS) >= 75
    record("hostile input", "one of each kind", "refused, or read as what it is", "–", len(DOORS))
