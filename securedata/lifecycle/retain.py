"""`retain`: features in place of recordings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from securedata.corpus.config import Reference, resolve
from securedata.corpus.notices import log_incomplete
from securedata.corpus.option_values import as_flag, as_text, as_whole
from securedata.corpus.progress import Progress, check_progress
from securedata.corpus.tasks.engine import Engine, check_engine, executor_of
from securedata.errors import InvalidArgument
from securedata.ingest.target import find_target
from securedata.lifecycle.features.report import RetainReport
from securedata.printable import plural


def retain(
    target: str | os.PathLike[str] | Reference,
    to: str | os.PathLike[str] | Reference,
    *,
    features: str,
    arguments: Mapping[str, Any] | None = None,
    sample_rate: int | None = None,
    dtype: str | None = None,
    purpose: str | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    verify_sample: int = 100,
    seed: int = 0,
    erase_raw: bool = False,
    name: str | None = None,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    to_kms: str | Sequence[str] | None = None,
    to_pin: str | Sequence[str] | None = None,
    single_writer: bool = False,
    accept_generation: int | None = None,
    progress: bool | Progress | None = None,
) -> RetainReport:
    """Compute features of every recording of a corpus, and seal them into a corpus of their own.

    A row of features has the people, words, split, consent, purposes and expiry of its recording, and says which object
    it was computed from; the settings of the corpus of features say from which corpus, and by which transform,
    arguments and versions. Before its first row is committed, the corpus is registered in the head of the source, so
    that an erasure finds it. If a run is killed, run it again: it continues where it stopped, and computes anew what
    changed in the source.

    At the end every object of features is read back and opened, and a sample is computed again and compared: byte for
    byte where versions and processor are the same, else within a tolerance. The recordings stay in the source, unless
    `erase_raw` erases them then.

    Features are personal data like the recordings: see docs/features.md for what they give away of the speaker.

    Args:
        target: the corpus of recordings: a name from the config, `securedata://NAME`, a path or a URL.
        to: the corpus of features, likewise. A new or empty folder becomes a corpus, with a key file unless `to_kms`
            names a key.
        features: 'log-mel', 'mfcc', 'fbank' (torchaudio), or 'MODULE:FUNCTION': a function that takes a float32 tensor
            [channels, frames] and the rate in Hz, and returns a tensor [channels, features, frames].
        arguments: of the transform, such as {"n_mels": 64}; others have defaults. A function has none.
        sample_rate: Hz that recordings are resampled to before. None: that of the recordings, if all have the same.
        dtype: 'float16' or 'float32'. None: as before in `to`, or 'float16'.
        purpose: what the recordings are read for, as `open_corpus` takes it; those without consent to it are left out.
        workers: processes that read, decode and compute; 0: this one. None: one per core.
        engine: 'local': `workers` compute; 'ray': tasks of a Ray cluster do, whose nodes must have the same torch and
            processor; or an executor of processes. The verification is done here. See docs/scale.md.
        verify_sample: how many recordings are computed again and compared.
        seed: chooses them.
        erase_raw: if every recording has features and verification found nothing, erase all recordings of the source,
            with a receipt, as `securedata erase --all` does.
        name: name of a new corpus of features; None: that of its folder.
        kms, pin: of the corpus of recordings, which is written to, too. None: from the config.
        to_kms, to_pin: of the corpus of features, likewise.
        single_writer: allow storage where concurrent writers could lose rows; use it only if nobody else writes there.
        accept_generation: accept this generation of the source although this machine has seen a newer one.
        progress: True for a bar on a terminal or in a notebook; or a callable that is called from one thread with
            (files done, files in all, bytes done, bytes in all).

    Returns:
        The results; `complete` is False if a recording has no features, or if verification found something, and then
        the logger `securedata` warns, too.

    Raises:
        InvalidArgument: no such transform or argument; `to` holds something else; recordings at several rates.
        PinRequired, PinMismatch, NoTrustedKey, KMSDenied, ...: a corpus cannot be opened for writing.
        NoOperatorKey: `erase_raw`, and no receipt could be signed; nothing was written.
        StorageError, KeysError, CorpusError: what was committed stays; run it again for the rest.

    Example:
        report = sd.retain("voice-a", "./features-a", features="log-mel", sample_rate=16_000, verify_sample=2)
        print(report.added, "of", report.rows, "recordings;", report.identical, "computed again with the same result")
        assert report.complete, (report.failed, report.unreadable, report.different, report.held)
    """
    check_progress(progress)
    features = as_text("features", features)
    if sample_rate is not None:
        sample_rate = as_whole("sample_rate", sample_rate, 1, 768_000)
    if arguments is not None and not isinstance(arguments, Mapping):
        raise InvalidArgument(f'arguments= is a mapping, as {{"n_mels": 64}}, not {type(arguments).__name__}')
    if accept_generation is not None:
        accept_generation = as_whole("accept_generation", accept_generation, 0, 2**63 - 1)
    erase_raw, engine = as_flag("erase_raw", erase_raw), check_engine(engine)
    if erase_raw and accept_generation is not None:
        raise InvalidArgument("recordings are erased from the newest generation only: leave out accept_generation")
    source = resolve(target, kms, pin)
    source.require_pin()
    found, there = find_target(to, to_kms, to_pin, name)

    from securedata.lifecycle.features.retaining import run  # imports torch

    with executor_of(engine) as executor:
        report = run(
            source,
            found,
            there,
            transform=features,
            arguments=arguments or {},
            sample_rate=sample_rate,
            purpose=purpose,
            dtype=None if dtype is None else as_text("dtype", dtype),
            workers=len(os.sched_getaffinity(0)) if workers is None else as_whole("workers", workers, 0, 1_000),
            verify_sample=as_whole("verify_sample", verify_sample, 0, 2**31),
            seed=as_whole("seed", seed, 0, 2**63 - 1),
            name=name,
            single_writer=as_flag("single_writer", single_writer),
            accept_generation=accept_generation,
            erase_raw=erase_raw,
            progress=progress,
            executor=executor,
        )
    if not report.complete:
        log_incomplete(
            f"{report.root} does not hold features of all {plural(report.rows, 'recording')} of {report.source}: see "
            "the report's failed, unreadable, different and held"
        )
    return report
