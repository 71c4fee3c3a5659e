"""`securedata.manifest`: the rows of a corpus as a manifest of NeMo, lhotse, Kaldi, Hugging Face, or a table."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence

from securedata.corpus.config import Reference, resolve
from securedata.corpus.export.destination import Destination
from securedata.corpus.export.manifest import COLUMNS as SHARED
from securedata.corpus.manifests import kaldi, lhotse, nemo, tables
from securedata.corpus.manifests.row import Row, row_of
from securedata.corpus.opening import open_corpus
from securedata.corpus.option_values import as_choice, as_flag, as_text
from securedata.corpus.reader import Corpus
from securedata.errors import InvalidArgument, NoSuchPath, PlaintextRefused

Rows = Callable[[], Iterator[Row]]
"""Goes through the rows once more; a format of several files does so for each."""

_FORMATS: Mapping[str, Callable[[Rows], Mapping[str, Callable[[], Iterator[str]]]]] = {
    "nemo": nemo.files,
    "lhotse": lhotse.files,
    "kaldi": kaldi.files,
    "hf": tables.hf_files,
    "csv": tables.csv_files,
}
FORMATS = tuple(_FORMATS)
_COLUMNS = (*SHARED, "channels", "format", "extra")


class Manifest:
    """The manifest of some rows. It is made line by line, as it is read, and it is personal text: who says what.

    Attributes:
        format: one of `FORMATS`.
        files: the names of its files; one, but for kaldi.
        rows: how many recordings and segments it lists.
        others: how many rows it leaves out because they are no recordings.
    """

    def __init__(self, corpus: Corpus, format: str, rows: Sequence[int], others: int) -> None:
        """Made by `manifest`."""
        self._corpus, self._numbers = corpus, rows
        self.format, self.rows, self.others = format, len(rows), others
        self._lines = _FORMATS[format](self._rows)
        self.files = tuple(self._lines)

    def __repr__(self) -> str:
        if not hasattr(self, "files"):  # it could not be made
            return "<Manifest>"
        return f"<Manifest for {self.format} of {self._corpus.root}: {self.rows} rows>"

    def __iter__(self) -> Iterator[str]:
        """The lines of its only file, without line ends.

        Raises:
            InvalidArgument: it has several files; see `lines` and `save`.
        """
        if len(self.files) > 1:
            raise InvalidArgument(
                f"a manifest for {self.format} is {len(self.files)} files, {', '.join(self.files)}: write them into a "
                "folder with -o (in Python: save)"
            )
        return self.lines(self.files[0])

    def lines(self, file: str) -> Iterator[str]:
        """The lines of one file, without line ends. Raises InvalidArgument if there is no such file."""
        return self._lines[as_choice("file", file, self.files)]()

    def save(
        self, folder: str | os.PathLike[str], *, allow_plaintext_export: bool = False, overwrite: bool = False
    ) -> list[str]:
        """Write its files into a folder, which is made if it is missing; returns their paths.

        Files that are there and right are left alone. A killed run leaves whole files or none, and can be run again.

        Args:
            allow_plaintext_export: must be True, because transcripts and names would reach a disk.
            overwrite: replace existing files that differ.

        Raises:
            PlaintextRefused: `allow_plaintext_export` is not True.
            AlreadyExists: there is another file of such a name.
            StorageError: a file cannot be written.
        """
        if not as_flag("allow_plaintext_export", allow_plaintext_export):
            raise PlaintextRefused(
                f"a manifest of {self._corpus.root} has names and transcripts, which would reach a disk: pass "
                "--allow-plaintext-export to allow this (in Python: allow_plaintext_export=True)",
                root=self._corpus.root,
            )
        replace = as_flag("overwrite", overwrite)
        with Destination(os.path.abspath(os.fspath(folder)), self._corpus.root) as out:
            for name in self.files:
                digest, size = hashlib.sha256(), 0
                for line in self._bytes(name):
                    digest.update(line)
                    size += len(line)
                out.write(name, self._bytes(name), sha256=digest.digest(), size=size, overwrite=replace)
            out.make_durable()
            return [os.path.join(out.path, name) for name in self.files]

    def close(self) -> None:
        """Close the corpus."""
        self._corpus.close()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bytes(self, name: str) -> Iterator[bytes]:
        return (f"{line}\n".encode() for line in self.lines(name))

    def _rows(self) -> Iterator[Row]:
        return (row_of(self._corpus, row) for row in self._numbers)


def manifest(
    target: str | os.PathLike[str] | Reference,
    format: str = "nemo",
    *,
    path: str = "",
    split: str | None = None,
    speaker: str | None = None,
    kms: str | Sequence[str] | None = None,
    pin: str | Sequence[str] | None = None,
    purpose: str | None = None,
    accept_generation: int | None = None,
) -> Manifest:
    """List the recordings of a corpus for another tool, by URLs `securedata://NAME/PATH` that it can open.

    The corpus needs a name in the config, on every machine that opens the URLs. Rows without consent to the purpose,
    and what is no recording, are not listed.

    Args:
        target: a name from the config, `securedata://NAME`, a path or a URL.
        format: 'nemo', JSON lines with audio_filepath, duration, offset, text, sampling_rate, lang and the columns of
            an export; 'lhotse', cuts as JSON lines; 'kaldi', a data directory, whose wav.scp has commands; 'hf', JSON
            lines with the same columns in every row; 'csv', a table with a header.
        path: a folder or recording; '' for all.
        split, speaker: only rows with this one.
        kms, pin, purpose, accept_generation: as `open_corpus` takes them.

    Returns:
        The manifest: iterate over its lines, or `save` it. Close it, or use `with`.

    Raises:
        NoSuchPath: nothing has this path.
        InvalidArgument: no such format, no row of the split or speaker, or the corpus has no name in the config.
        as `open_corpus`

    Example:
        with sd.manifest("voice-a", "nemo", path="ann") as lines:
            for line in lines:  # {"audio_filepath":"securedata://voice-a/ann/utt0.wav","duration":1.0,...
                assert line.startswith('{"audio_filepath":"securedata://voice-a/ann/')
    """
    as_choice("format", format, FORMATS)
    reference = resolve(target, kms, pin)
    if reference.name is None:
        raise InvalidArgument(
            f"{reference.root} has no name in the config, and other tools find a corpus by its name: "
            "'securedata info ROOT --config' prints the entry",
            root=reference.root,
        )
    where = {"split": split, "speaker": speaker}
    wanted = {name: _nfc(as_text(name, value)) for name, value in where.items() if value is not None}
    prefix = _nfc(as_text("path", path)).strip("/")
    corpus = open_corpus(reference, columns=_COLUMNS, purpose=purpose, accept_generation=accept_generation)
    try:
        rows, others, found = [], 0, False
        for row in corpus.index.order.tolist():
            name, rate, *values = corpus.index.values(("path", "sample_rate", *wanted), row)
            if prefix and name != prefix and not name.startswith(f"{prefix}/"):
                continue
            found = True
            if values != list(wanted.values()):
                continue
            if rate < 1 or corpus.index.value("format", row) == "NPY":
                others += 1
            else:
                rows.append(row)
        if prefix and not found:
            raise NoSuchPath(f"no row of {corpus.root} has the requested path or lies below it", path=prefix)
        if wanted and not rows and not others:
            raise InvalidArgument(
                f"no row of {corpus.root} that was asked for has this {' and '.join(wanted)}: 'securedata info' lists "
                "splits, and 'securedata ls' rows",
                root=corpus.root,
            )
        return Manifest(corpus, format, rows, others)
    except BaseException:  # raised again: nobody else could close it
        corpus.close()
        raise


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)  # as ingest stores names
