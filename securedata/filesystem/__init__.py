"""The fsspec filesystem for the scheme `securedata`; fsspec finds it by the entry point that names this package."""

from securedata.filesystem.spec import SecuredataFileSystem

__all__ = ["SecuredataFileSystem"]
