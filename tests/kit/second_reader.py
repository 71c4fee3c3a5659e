"""A second reader of the format, written from docs/format.md and nothing else: slow, plain, and without our code.

It refuses by raising `Refused`. Where it and the package differ, one of them or the text is wrong.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = bytes.fromhex("89 53 44 45 0D 0A 1A 0A")
CHUNK, TAG = 16384, 16
DATA, HEAD, TABLE = 1, 2, 3
WRAP = 0x8001
REQUIRES = 0x8002
KNOWN = {"bars", "erasures", "holds", "purpose", "restrictions"}


class Refused(Exception):
    """By a rule of the text."""


def require(holds: bool, rule: str) -> None:
    if not holds:
        raise Refused(rule)


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-512, RFC 5869."""
    out, block = b"", b""
    for number in range(1, -(-length // 64) + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha512")
        out += block
    return out[:length]


def parse(data: bytes) -> tuple[bytes, int, bytes, bytes, bytes, list[tuple[int, bytes]]]:
    """Header bytes, kind, corpus id, key id, object id and TLVs (2.1)."""
    require(data[:8] == MAGIC and len(data) >= 64, "F-HDR-1")
    size, kind = int.from_bytes(data[10:12], "big"), data[12]
    require(data[8] == 1 and data[9] == 1, "F-HDR-1")
    require(size >= 64 and size % 8 == 0 and kind in (DATA, HEAD, TABLE), "F-HDR-1")
    require(size <= (65528 if kind == HEAD else 4096) and data[13:16] == bytes(3), "F-HDR-1")
    require(kind == HEAD or data[32:48] == bytes(16), "F-HDR-1")
    require(len(data) >= size, "F-HDR-3")
    tlvs, at = [], 64
    while at < size:
        number, length = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 4 + length
        after = at + (4 + length + 7) // 8 * 8
        require(after <= size, "F-TLV-1")
        require(data[end:after] == bytes(after - end), "F-TLV-2")
        require(number < 0x8000 or (number in (WRAP, REQUIRES) and kind == HEAD), "F-TLV-3, F-TLV-5")
        tlvs.append((number, data[at + 4 : end]))
        at = after
    return data[:size], kind, data[16:32], data[32:48], data[48:64], tlvs


def unseal(data: bytes, key: bytes, kind: int, corpus: bytes | None, object_id: bytes | None) -> bytes:
    """The plaintext of a whole object (2.2)."""
    header, its_kind, its_corpus, _, its_id, _ = parse(data)
    require(its_kind == kind and corpus in (None, its_corpus) and object_id in (None, its_id), "F-HDR-2")
    salt, commitment, chunks = data[len(header) :][:24], data[len(header) + 24 :][:32], data[len(header) + 56 :]
    require(len(salt + commitment) == 56, "F-MSG-6")
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + b"securedata/v1\0" + header
    derived = expand(key, info, 76)
    require(hmac.compare_digest(derived[44:], commitment), "F-MSG-4")
    aead, base = AESGCM(derived[:32]), int.from_bytes(derived[32:44], "big")
    plain, number = b"", 0
    while True:
        chunk, chunks = chunks[: CHUNK + TAG], chunks[CHUNK + TAG :]
        require(len(chunk) >= TAG, "F-MSG-5, F-MSG-6")
        try:
            plain += aead.decrypt((base ^ number).to_bytes(12, "big"), chunk, None)
        except InvalidTag:
            raise Refused("F-MSG-8") from None
        if len(chunk) < CHUNK + TAG:
            require(chunks == b"", "F-MSG-7")
            return plain
        number += 1


def unwrap(blob: bytes, key_file: str, corpus: bytes) -> bytes:
    """The corpus key, by a key file (3)."""
    name, _, kek = key_file.split()
    require(name == "securedata-kek-v1", "F-KMS-8")
    context = json.dumps({"securedata:corpus": corpus.hex()}, separators=(",", ":")).encode()
    return AESGCM(bytes.fromhex(kek)).decrypt(blob[:12], blob[12:], context)


def pin(corpus: bytes, secret: bytes) -> str:
    return "sd1" + base64.b32encode(corpus + expand(secret, b"securedata/v1 pin", 16)).decode().rstrip("=").lower()


def tag(secret: bytes, subject: str) -> bytes:
    key = expand(secret, b"securedata/v1 subject tag", 32)
    return hmac.digest(key, unicodedata.normalize("NFC", subject).encode(), "sha256")


def read_corpus(
    get: Callable[[str], bytes], key_file: str, its_pin: str
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The head's body, and the rows by path, each with the file's `content`, checked by its digest (4, 5, 7)."""
    data = get("head")
    _, _, corpus, _, _, tlvs = parse(data)
    ours = f"local:{key_file.split()[1]}".encode()
    required = {name for number, value in tlvs if number == REQUIRES for name in value.decode().split(" ")}
    require(required <= KNOWN, "F-TLV-7")
    wraps = [value[2:] for number, value in tlvs if number == WRAP and value[2:].startswith(ours)]
    key = unwrap(wraps[0][len(ours) :], key_file, corpus)
    head: dict[str, Any] = json.loads(unseal(data, key, HEAD, corpus, None))
    require(pin(corpus, bytes.fromhex(head["secret"])) == its_pin, "F-PIN-2")
    rows: dict[str, dict[str, Any]] = {}
    for part in head["parts"]:
        sealed = get(f"manifest/{part['id']}")
        require(len(sealed) == part["size"], "F-READ-2")
        plain = unseal(sealed, bytes.fromhex(part["key"]), TABLE, corpus, bytes.fromhex(part["id"]))
        table = pa.ipc.open_file(plain).read_all().to_pylist()
        require(len(table) == part["rows"], "F-PART-1")
        for row in table:
            name = row["object_id"].hex()
            if row["pack"] is None:
                sealed = get(f"objects/{name[:2]}/{name}")
            else:
                sealed = get(f"packs/{row['pack'].hex()}")[row["offset"] :][: row["sealed_size"]]
            content = unseal(sealed, row["data_key"], DATA, corpus, row["object_id"])
            require((len(sealed), len(content)) == (row["sealed_size"], row["size"]), "F-READ-2")
            require(hashlib.sha256(content).digest() == row["source_sha256"], "the digest")
            require(row["path"] not in rows, "F-ROW-2")
            rows[row["path"]] = {**row, "content": content}
    return head, rows


def in_folder(root: Path) -> Callable[[str], bytes]:
    return lambda key: (root / key).read_bytes()
