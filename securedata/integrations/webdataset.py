"""Sealed shards in WebDataset: `securedata.webdataset`. Import it only where `webdataset` is installed.

Importing it lets WebDataset open securedata:// URLs in this process.
"""

from __future__ import annotations

from typing import Any

import fsspec
from webdataset import cache
from webdataset.gopen import gopen_schemes

from securedata.corpus.config import SCHEME
from securedata.errors import PlaintextRefused
from securedata.filesystem.refused import refused

_READ_AHEAD = 4 * 1024 * 1024  # bytes: a shard is read from its beginning to its end
_download = cache.download


def register() -> None:
    """Let WebDataset open securedata:// URLs, in this process and those that it forks.

    A shard is a tar file that is sealed as one object. It is read in this process by fsspec, in pieces of 4 MiB, and
    not through a pipe. What WebDataset would keep in files (`cache_dir`) raises `PlaintextRefused`. Workers that are
    spawned call this too: pass `worker_init`.

    Example:
        securedata.webdataset.register()
        shards = webdataset.WebDataset("securedata://voice-a/shards/{000..127}.tar", shardshuffle=100)
    """
    gopen_schemes[SCHEME.partition(":")[0]] = open_url
    cache.download = _refusing


def worker_init(worker: int) -> None:
    """The `worker_init_fn` of a DataLoader whose workers are spawned."""
    register()


def open_url(url: str, mode: str = "rb", bufsize: int = 8192, **_: Any) -> Any:
    """A shard as a file. Raises as opening it by fsspec."""
    return fsspec.open(url, mode, block_size=_READ_AHEAD).open()


def _refusing(url: str, dest: str, *args: Any, **options: Any) -> Any:
    """In place of the function with which WebDataset fills its cache."""
    if url.startswith(SCHEME) and not fsspec.core.url_to_fs(url)[0].allow_plaintext_export:
        raise refused(
            PlaintextRefused(
                "WebDataset's cache (cache_dir=, WDS_CACHE) would write decrypted shards to a disk: leave it out, or "
                "set FSSPEC_SECUREDATA_ALLOW_PLAINTEXT_EXPORT=true if it may"
            )
        )
    return _download(url, dest, *args, **options)


register()
