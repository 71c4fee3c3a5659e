"""What a pickle of a dataset holds, in a worker and elsewhere."""

from __future__ import annotations

import io
import pickle
from multiprocessing import context as multiprocessing_context
from multiprocessing import reduction
from pathlib import Path

import pytest
import torch

import securedata as sd
from securedata.corpus.state.head import peek
from securedata.corpus.writer import Writer
from securedata.errors import GenerationChanged
from securedata.format.header import WRAP
from securedata.keys.kms import context_for, open_kms
from securedata.keys.wraps import Wrap
from tests.kit.corpora.recorded import Root, add_clips
from tests.kit.sources.recordings import clip
from tests.torch.test_dataset import by_path


def _secrets(root: Root) -> list[bytes]:
    """Every key there is: of the KMS, the corpus, its parts and its objects."""
    writer = Writer(root.reference)
    header, _ = peek(Path(root, "head").read_bytes(), root)
    blobs = [Wrap.decode(value, root).blob for kind, value in header.tlvs if kind == WRAP]
    keys = [open_kms(root.kms).unwrap(blob, context_for(header.corpus_id)) for blob in blobs]
    keys += [bytes.fromhex(root.key_file.read_text().split()[2]), writer.head.secret]
    for part in writer.head.parts:
        keys += [part.key, *writer.read_table(part, ["data_key"]).column("data_key").to_pylist()]
    assert {len(key) for key in keys} == {32}
    assert len(keys) == 3 + 1 + 6
    return keys


def _holds(data: bytes, keys: list[bytes]) -> bool:
    return any(form in data for key in keys for form in (key, key.hex().encode(), key[:16], repr(key).encode()))


def test_pickle_holds_no_key_and_no_word(root: Root, tmp_path: Path) -> None:
    with sd.EncryptedAudioDataset(root, speaker=["ann", "bob"], sample_rate=8_000) as ds:
        assert len(ds.lengths) == 6
        path = tmp_path / "dataset.pickle"
        path.write_bytes(pickle.dumps(ds))
        keys = _secrets(root)
        assert _holds(b"".join(bytes(ds.corpora[0].index.key(i)) for i in range(6)), keys)  # the search can find one
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            data = pickle.dumps(ds, protocol)
            assert not _holds(data, keys)
            assert not any(word in data for word in (b"good morning", b"utt0", b"room"))
        with pytest.raises(TypeError, match="never into a stored pickle"):
            pickle.dumps(ds.corpora[0].index)
        again = pickle.loads(path.read_bytes())
    with again:
        assert again.corpora[0].counters.unwraps == 1  # the receiver asked for itself
        assert (len(again), again.sample_rate) == (6, 8_000)
        assert again.lengths.tolist() == ds.lengths.tolist()
        assert torch.equal(again[2].waveform, ds[2].waveform)


class _Descriptor:
    """What stands for a descriptor in the pickle; the descriptor itself goes beside it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd


class _Spawning:
    """What multiprocessing offers to pickles while it starts a process."""

    DupFd = _Descriptor

    def __init__(self) -> None:
        self.handed: list[int] = []

    def duplicate_for_child(self, fd: int) -> int:
        self.handed.append(fd)
        return fd


def test_pickle_for_a_worker_holds_no_key_either(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as ds:
        spawning = _Spawning()
        data = io.BytesIO()
        multiprocessing_context.set_spawning_popen(spawning)
        try:
            reduction.dump(ds, data)
        finally:
            multiprocessing_context.set_spawning_popen(None)
        assert len(spawning.handed) == 3  # rows, keys, statistics
        assert not _holds(data.getvalue(), _secrets(root))


def test_pickle_from_another_generation_is_refused_unless_asked_for(root: Root) -> None:
    with sd.EncryptedAudioDataset(root) as strict, sd.EncryptedAudioDataset(root, refresh=True) as current:
        pickles = [pickle.dumps(ds) for ds in (strict, current)]
    add_clips(root, [clip("eve/utt0.wav", 0.2, speaker="eve")])
    with pytest.raises(GenerationChanged, match="refresh=True"):
        pickle.loads(pickles[0])
    with pickle.loads(pickles[1]) as again:
        assert len(again) == len(again.lengths) == 7
        assert again[by_path(again)["eve/utt0.wav"]].speaker == "eve"
