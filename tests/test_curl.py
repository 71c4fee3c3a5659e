"""How the libcurl engine spreads its requests; what it makes of servers is in tests/cloud."""

from __future__ import annotations

import collections

import pytest

from securedata.storage import curl
from securedata.storage.curl import CONNECTIONS, Engine, Get


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The engine's time, which the test sets."""
    now = [100.0]
    monkeypatch.setattr(curl.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def flight(clock: list[float]) -> curl._Flight:
    """Forty requests to a port where nobody listens; none is ever driven."""
    gets = [Get("http://127.0.0.1:9/x", length=1000) for _ in range(40)]
    return curl._Flight(collections.deque(enumerate(gets)), None, 1 << 20, began=clock[0])


def test_an_eager_taker_gets_all_at_once(flight: curl._Flight) -> None:
    Engine()._start(flight)
    assert len(flight.running) == CONNECTIONS


def test_requests_go_out_as_fast_as_their_answers_are_worked_on(flight: curl._Flight, clock: list[float]) -> None:
    engine = Engine()
    engine._pace = 0.003
    started = []
    for _ in range(10):
        engine._start(flight)
        started.append(len(flight.running))
        clock[0] += 0.0030001
    assert started == [4, 8, 12, 16, 20, 24, 28, 32, 32, 32]


def test_a_slow_taker_does_not_slow_the_next_one_down_without_end(flight: curl._Flight, clock: list[float]) -> None:
    engine = Engine()
    engine._pace = 30.0
    engine._start(flight)
    clock[0] += 0.029
    engine._start(flight)
    assert len(flight.running) == CONNECTIONS


def test_in_flight_bounds_the_bytes(flight: curl._Flight) -> None:
    flight.in_flight = 5_500
    Engine()._start(flight)
    assert len(flight.running) == 5
