"""Voice corpora that are encrypted on storage and plaintext only in the memory of the process that trains on them.

A corpus is a folder or a bucket prefix that holds sealed recordings, and a manifest of who speaks in them and what they
say. A KMS key opens it; on one machine a key file can take its place.

Make a corpus and seal recordings into it. `ingest` also makes one by itself, where the target is a new folder:

    import securedata as sd

    created = sd.create_corpus("./sealed", "voice-a")
    report = sd.ingest("./wavs", "voice-a", speaker_pattern="{speaker}/{utterance}")
    print(report.added, "recordings sealed; back up", *created.back_up)
    assert report.complete, (report.problems, report.conflicts, report.erased)

Train on it, with any sampler and any number of workers:

    from torch.utils.data import DataLoader

    ds = sd.EncryptedAudioDataset("voice-a", sample_rate=16_000, num_frames=16_000)
    for batch in DataLoader(ds, batch_size=4, shuffle=True, num_workers=2, collate_fn=sd.pad_collate):
        print(batch.waveform.shape, batch.speaker)  # float32 [B, C, T], B names

Read one recording, or a part of it, as `torchaudio.load` does:

    waveform, sample_rate = sd.load("securedata://voice-a/ann/utt0.wav", num_frames=8_000)  # float32 [C, T], Hz

Give it to any library that opens files by fsspec:

    import fsspec

    with fsspec.open("securedata://voice-a/ann/utt0.wav") as file:
        print(file.read(4))  # decrypts the chunk that holds these four bytes

Check every object, and get the source files out again, byte for byte (but a recording that was cut apart, because its
segments name different people, as those segments):

    assert sd.verify("voice-a").ok
    restored = sd.export("voice-a", "./restored", allow_plaintext_export=True)
    print(restored.written, "files in", restored.destination)

A target is written in four ways: a name from the config file, `voice-a`; the same as a URL, `securedata://voice-a`; a
path, `./sealed`; or the URL of its storage, `s3://bucket/voice-a`.

Keys: without `kms=` a key file is made under ~/.local/share/securedata/keys; without it the corpus is lost, so back it
up. In the cloud name a KMS key: `aws-kms://arn:aws:kms:...` or `hcvault://host:port/transit/keys/name`. Which KMS keys
are trusted and which corpus is meant (its pin) is said by the argument, else by ~/.config/securedata/config.toml, else
by SECUREDATA_KMS and SECUREDATA_PIN. Storage never chooses either.

Errors: all are below `sd.errors.SecuredataError`, one class for each cause. Their texts say what happened, where, and
what to do next; they never hold a key, nor a recording's path, which is often a name: that is in `error.path`.

`ingest`, `verify`, `export`, `export_to_corpus`, `retain`, `split` and `pack` print nothing. They return a report, log
what must not be missed to the logger `securedata`, and show a bar with `progress=True`.

The command `securedata` does the same; `securedata COMMAND --help` explains it. To read on, in the repository's docs:
api.md for every name here, training.md, ecosystem.md for other libraries, fsspec.md, cloud.md for S3 and cloud KMS,
security.md for who is kept out.
Importing this package loads neither torch nor boto3: names are resolved at their first use.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from securedata import datasets, errors
    from securedata.corpus.check.report import VerifyReport
    from securedata.corpus.check.verify import verify
    from securedata.corpus.create import CreateReport, create_corpus
    from securedata.corpus.export.export import ExportReport, export
    from securedata.corpus.manifests.manifest import Manifest, manifest
    from securedata.corpus.objects.cache_report import CacheReport, cache
    from securedata.corpus.opening import UnpinnedWarning, open_corpus
    from securedata.corpus.packs.report import PackReport
    from securedata.corpus.reader import Corpus
    from securedata.corpus.recordings.info import AudioMetadata, info
    from securedata.ingest.ingest import ingest
    from securedata.ingest.preview import IngestPreview
    from securedata.ingest.report import IngestReport
    from securedata.integrations.huggingface import to_hf
    from securedata.lifecycle.copying.export_to_corpus import export_to_corpus
    from securedata.lifecycle.copying.report import CorpusExportReport
    from securedata.lifecycle.features.report import RetainReport
    from securedata.lifecycle.packing.pack import pack
    from securedata.lifecycle.people.listing import PeopleReport, people
    from securedata.lifecycle.people.person import PersonReport, person
    from securedata.lifecycle.people.public import PublicReport, public_report
    from securedata.lifecycle.people.requests import RequestsReport, open_requests
    from securedata.lifecycle.retain import retain
    from securedata.lifecycle.splitting.report import SplitReport
    from securedata.lifecycle.splitting.split import split
    from securedata.lineage.record import Lineage
    from securedata.torch.collate import pad_collate
    from securedata.torch.combine import concat
    from securedata.torch.dataset import EncryptedAudioDataset
    from securedata.torch.features import EncryptedFeatureDataset
    from securedata.torch.lineage import save_lineage
    from securedata.torch.load import load
    from securedata.torch.sample import Batch, ByteSample, FeatureBatch, FeatureSample, Sample
    from securedata.torch.stream.audio import EncryptedAudioStream
    from securedata.torch.stream.items import EncryptedStream
    from securedata.torch.stream.sampler import ResumableSampler
    from securedata.torch.stream.state import merge_state

__version__ = "0.1.0"

_HOME = {
    "AudioMetadata": "securedata.corpus.recordings.info",
    "Batch": "securedata.torch.sample",
    "ByteSample": "securedata.torch.sample",
    "CacheReport": "securedata.corpus.objects.cache_report",
    "Corpus": "securedata.corpus.reader",
    "CorpusExportReport": "securedata.lifecycle.copying.report",
    "CreateReport": "securedata.corpus.create",
    "EncryptedAudioDataset": "securedata.torch.dataset",
    "EncryptedAudioStream": "securedata.torch.stream.audio",
    "EncryptedFeatureDataset": "securedata.torch.features",
    "EncryptedStream": "securedata.torch.stream.items",
    "ExportReport": "securedata.corpus.export.export",
    "FeatureBatch": "securedata.torch.sample",
    "FeatureSample": "securedata.torch.sample",
    "IngestPreview": "securedata.ingest.preview",
    "IngestReport": "securedata.ingest.report",
    "Lineage": "securedata.lineage.record",
    "Manifest": "securedata.corpus.manifests.manifest",
    "PackReport": "securedata.corpus.packs.report",
    "PeopleReport": "securedata.lifecycle.people.listing",
    "PersonReport": "securedata.lifecycle.people.person",
    "PublicReport": "securedata.lifecycle.people.public",
    "RequestsReport": "securedata.lifecycle.people.requests",
    "ResumableSampler": "securedata.torch.stream.sampler",
    "RetainReport": "securedata.lifecycle.features.report",
    "Sample": "securedata.torch.sample",
    "SplitReport": "securedata.lifecycle.splitting.report",
    "UnpinnedWarning": "securedata.corpus.opening",
    "VerifyReport": "securedata.corpus.check.report",
    "cache": "securedata.corpus.objects.cache_report",
    "concat": "securedata.torch.combine",
    "create_corpus": "securedata.corpus.create",
    "export": "securedata.corpus.export.export",
    "export_to_corpus": "securedata.lifecycle.copying.export_to_corpus",
    "info": "securedata.corpus.recordings.info",
    "ingest": "securedata.ingest.ingest",
    "load": "securedata.torch.load",
    "merge_state": "securedata.torch.stream.state",
    "manifest": "securedata.corpus.manifests.manifest",
    "open_corpus": "securedata.corpus.opening",
    "open_requests": "securedata.lifecycle.people.requests",
    "pack": "securedata.lifecycle.packing.pack",
    "pad_collate": "securedata.torch.collate",
    "people": "securedata.lifecycle.people.listing",
    "person": "securedata.lifecycle.people.person",
    "public_report": "securedata.lifecycle.people.public",
    "retain": "securedata.lifecycle.retain",
    "save_lineage": "securedata.torch.lineage",
    "split": "securedata.lifecycle.splitting.split",
    "to_hf": "securedata.integrations.huggingface",
    "verify": "securedata.corpus.check.verify",
}

_INTEGRATIONS = ("lhotse", "ray", "webdataset")
"""Modules of `securedata.integrations` that are names here too, where the library of that name is installed."""

__all__ = [
    "AudioMetadata",
    "Batch",
    "ByteSample",
    "CacheReport",
    "Corpus",
    "CorpusExportReport",
    "CreateReport",
    "EncryptedAudioDataset",
    "EncryptedAudioStream",
    "EncryptedFeatureDataset",
    "EncryptedStream",
    "ExportReport",
    "FeatureBatch",
    "FeatureSample",
    "IngestPreview",
    "IngestReport",
    "Lineage",
    "Manifest",
    "PackReport",
    "PeopleReport",
    "PersonReport",
    "PublicReport",
    "RequestsReport",
    "ResumableSampler",
    "RetainReport",
    "Sample",
    "SplitReport",
    "UnpinnedWarning",
    "VerifyReport",
    "cache",
    "concat",
    "create_corpus",
    "datasets",
    "errors",
    "export",
    "export_to_corpus",
    "info",
    "ingest",
    "load",
    "manifest",
    "merge_state",
    "open_corpus",
    "open_requests",
    "pack",
    "pad_collate",
    "people",
    "person",
    "public_report",
    "retain",
    "save_lineage",
    "split",
    "to_hf",
    "verify",
]


class _Face(ModuleType):
    """This package. Its public name `ingest` is the function, and the import of the subpackage does not replace it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "ingest" or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __getattr__(name: str) -> Any:
    if name in ("datasets", "errors"):
        return import_module(f"securedata.{name}")  # which sets the attribute, too
    if name in _INTEGRATIONS:
        return import_module(f"securedata.integrations.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'securedata' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
