"""Threads that share the clients of one bucket."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from securedata.foreign.aws import AWSKeys
from securedata.storage.s3.clients import Clients

THREADS = 4


def test_threads_look_up_the_endpoint_at_the_same_moment() -> None:
    options = {"endpoint_url": "http://127.0.0.1:1", "region": "us-east-1"}
    ready = threading.Barrier(THREADS)
    shared = Clients("voice", options, lambda renew: AWSKeys("AKID", "secret", None))
    shared.get()

    def look_up() -> str:
        ready.wait(30)
        return shared.endpoint().url

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(20):
                shared._endpoint = None
                urls = [one.result() for one in [pool.submit(look_up) for _ in range(THREADS)]]
                assert set(urls) == {"http://127.0.0.1:1/voice/"}
    finally:
        sys.setswitchinterval(before)
