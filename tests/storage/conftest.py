"""What tests of storage begin with."""

from __future__ import annotations

import pytest

from securedata.storage import beneath


@pytest.fixture(params=["openat2", "step by step"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels and sandboxes without openat2 get the same."""
    if request.param == "step by step":
        monkeypatch.setattr(beneath, "_has_openat2", lambda _: False)
