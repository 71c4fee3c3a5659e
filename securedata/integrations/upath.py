"""`securedata://` paths for universal_pathlib, which finds this by its entry point: `UPath("securedata://voice-a")`."""

from __future__ import annotations

from typing import Any

import fsspec
from upath import UPath

_SCHEME = "securedata"

# universal_pathlib takes the rules of paths from the filesystem's class, if fsspec has loaded it
fsspec.get_filesystem_class(_SCHEME)


class SecuredataPath(UPath):
    """A path in a corpus. Its options are those of the filesystem.

    To another filesystem it is copied or moved only with `allow_plaintext_export=True`, for plaintext would be there.
    """

    __slots__ = ()

    def copy(self, target: Any, **kwargs: Any) -> Any:
        """As UPath's. Raises PlaintextRefused"""
        self._check(target)
        return super().copy(target, **kwargs)

    def copy_into(self, target_dir: Any, **kwargs: Any) -> Any:
        """As UPath's. Raises PlaintextRefused"""
        self._check(target_dir)
        return super().copy_into(target_dir, **kwargs)

    def _check(self, target: Any) -> None:
        inside = target.protocol == _SCHEME if isinstance(target, UPath) else str(target).startswith(f"{_SCHEME}:")
        if not inside:
            self.fs._check_export("UPath.copy()")
