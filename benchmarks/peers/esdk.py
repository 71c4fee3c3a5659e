"""The AWS Encryption SDK for Python with a key in memory and no KMS calls, which is its fastest setting.

The suite has key commitment, like its default suite, but not the default suite's ECDSA signature.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import AesWrappingAlg, CreateRawAesKeyringInput
from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient
from aws_encryption_sdk.identifiers import AlgorithmSuite, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

from benchmarks.peers.contenders import check
from benchmarks.tools.timing import Call, Work

KEY = os.urandom(32)


class Provider(RawMasterKeyProvider):  # type: ignore[misc]  # the SDK has no stubs
    provider_id = "benchmark"

    def _get_raw_key(self, key_id: str) -> WrappingKey:
        return WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
            wrapping_key=KEY,
            wrapping_key_type=EncryptionKeyType.SYMMETRIC,
        )


def keyring() -> dict[str, Any]:
    library = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
    wanted = CreateRawAesKeyringInput(
        key_namespace="benchmark",
        key_name="key",
        wrapping_key=KEY,
        wrapping_alg=AesWrappingAlg.ALG_AES256_GCM_IV12_TAG16,
    )
    return {"keyring": library.create_raw_aes_keyring(input=wanted)}


def master_key() -> dict[str, Any]:
    provider = Provider()
    provider.add_master_key("key")
    return {"key_provider": provider}


class Message:
    """One message per object, in frames of `frame` bytes."""

    def __init__(self, keys: str, frame: int) -> None:
        self.name = f"AWS ESDK {keys}, frames of {frame}"
        self._frame = frame
        self._keys = keyring() if keys == "keyring" else master_key()

    def prepare(self, size: int, count: int) -> Work:
        client = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)

        def seal(text: bytes) -> bytes:
            suite = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
            return client.encrypt(source=text, algorithm=suite, frame_length=self._frame, **self._keys)[0]  # type: ignore[no-any-return]  # no stubs

        def open_message(sealed: bytes) -> bytes:
            return client.decrypt(source=sealed, **self._keys)[0]  # type: ignore[no-any-return]  # no stubs

        opens: list[Call] = []
        seals: list[Call] = []
        for _ in range(count):
            text = os.urandom(size)
            opens.append(partial(open_message, seal(text)))
            seals.append(partial(seal, text))
            check(opens[-1], opens[-1], text)
        return Work(opens, seals)
