"""What tests of storage begin with."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("securedata.testing.storage")

from securedata.storage import beneath  # noqa: E402 - after the rewrite is asked for


@pytest.fixture(params=["openat2", "step by step"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels and sandboxes without openat2 get the same."""
    if request.param == "step by step":
        monkeypatch.setattr(beneath, "_has_openat2", lambda _: False)
