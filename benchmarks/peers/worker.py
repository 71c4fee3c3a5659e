"""Answer a parent's timing requests, in the peers' venv: one JSON object per line, in and out.

    {"do": "list"}                                            -> {"contenders": {name: [variant]}, "versions": {}}
    {"do": "prepare", "variant": V, "size": N, "count": K}    -> {"prepared": true}
    {"do": "forget", "variant": V}                            -> {"prepared": false}
    {"do": "fit", "variant": V, "direction": D, "seconds": S} -> {"number": n}
    {"do": "run", "variant": V, "direction": D, "number": n}  -> {"calls": n, "cpu": s, "wall": s}

The parent waits while this process works, so that the two never run at the same time. An exception ends the worker,
with a traceback on stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

from benchmarks.tools.timing import Contender, Work, number_for, run


def tink() -> Iterator[tuple[str, Contender]]:
    """Tink's one-shot AEAD, and its streaming AEAD with both segment sizes, read whole or into a buffer."""
    from benchmarks.peers import tink as peers_tink

    yield "Tink one-shot", peers_tink.Aead()
    for template in ("AES256_GCM_HKDF_4KB", "AES256_GCM_HKDF_1MB"):
        for into in (False, True):
            yield "Tink streaming", peers_tink.Streaming(template, into)


def esdk() -> Iterator[tuple[str, Contender]]:
    """The AWS Encryption SDK with a raw AES keyring and with the older raw master key, at several frame lengths."""
    from benchmarks.peers import esdk as peers_esdk

    for frame in (4096, 16384, 65536, 262144, 1048576):
        yield "AWS ESDK keyring", peers_esdk.Message("keyring", frame)
        yield "AWS ESDK master key", peers_esdk.Message("master key", frame)


def plain_cryptography() -> Iterator[tuple[str, Contender]]:
    """The limit again, in this process: shows what the venv and the pipe cost, which should be nothing."""
    from benchmarks.peers import contenders

    yield "one-shot AES-GCM in the worker", contenders.OneShot()


SOURCES: dict[str, Callable[[], Iterator[tuple[str, Contender]]]] = {
    "tink": tink,
    "aws-encryption-sdk": esdk,
    "cryptography": plain_cryptography,
}


def serve(packages: list[str]) -> None:
    families: dict[str, list[str]] = {}
    contenders: dict[str, Contender] = {}
    for package in packages:
        for family, contender in SOURCES[package]():
            families.setdefault(family, []).append(contender.name)
            contenders[contender.name] = contender
    prepared: dict[str, Work] = {}
    # Answers go to the original stdout; everything that libraries print goes to stderr.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        answer: dict[str, Any]
        match request["do"]:
            case "list":
                answer = {"contenders": families, "versions": {package: version(package) for package in packages}}
            case "prepare":
                prepared[request["variant"]] = contenders[request["variant"]].prepare(request["size"], request["count"])
                answer = {"prepared": True}
            case "forget":
                prepared.pop(request["variant"], None)
                answer = {"prepared": False}
            case "fit":
                calls = prepared[request["variant"]].calls(request["direction"])
                answer = {"number": number_for(calls, request["seconds"])}
            case "run":
                took = run(prepared[request["variant"]].calls(request["direction"]), request["number"])
                answer = {"calls": took.calls, "cpu": took.cpu, "wall": took.wall}
            case other:
                raise ValueError(f"unknown request {other!r}")
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1:] or list(SOURCES))
