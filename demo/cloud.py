"""`make demo-cloud`: the demo on an object store and a KMS (SeaweedFS and OpenBao), which it starts and stops.

The owner of the bucket seals the voices. Then a trainer, who has no rights on the bucket and may read no key, assumes a
role in a session for one corpus, with a KMS token that decrypts only for that corpus.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import json
import os

import securedata as sd
from demo import DemoError, say
from demo.leaks import Leaks
from demo.story import NAME, Story
from demo.train import Result
from demo.workplace import Workplace
from securedata.corpus.config import load, write_entry
from securedata.errors import AccessDenied, KMSDenied
from securedata.keys.kms import context_bytes, context_for
from tests.kit.servers import ROLE, TRAINER, Bao, Seaweed, openbao, seaweed

BUCKET = "voice"
ROOT = f"s3://{BUCKET}/{NAME}"
SESSION = 60
"""The seconds until a session ends: here some end while the model trains; on AWS they last 15 minutes or more."""


class CloudStory(Story):
    """The same steps with a bucket as the store; from step 5 on the reader is not the writer."""

    def __init__(self, options: argparse.Namespace, place: Workplace, store: Seaweed, kms: Bao) -> None:
        super().__init__(options, place)
        self.server, self.kms = store, kms
        self.become({**store.environment(), "VAULT_TOKEN": kms.token})
        say(f"An object store at {store.endpoint} (SeaweedFS) and a KMS at {kms.address} (OpenBao) run for this demo.")

    def become(self, environment: dict[str, str]) -> None:
        """Take another identity, for this process and for the commands and workers that it starts."""
        os.environ.update(environment)

    # ------------------------------------------------------------ the owner

    def target(self) -> str:
        uri = self.kms.make_key(NAME)
        self.securedata("init", ROOT, "--name", NAME, "--kms", uri)
        return NAME

    def began(self) -> bool:
        return bool(self.server.client().list_objects_v2(Bucket=BUCKET, Prefix=f"{NAME}/manifest/").get("Contents"))

    def who_has_the_key(self) -> str:
        return "The key that opens it never leaves the KMS. The bucket alone is only noise: step 4 checks."

    def look(self) -> Leaks:
        """Search everything that the bucket's owner can download."""
        client, count = self.server.client(), 0
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{NAME}/"):
            for entry in page.get("Contents", ()):
                path = self.place.store / entry["Key"].removeprefix(f"{NAME}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read())
                count += 1
        say(f"All {count:,} objects are downloaded with the bucket's admin keys, and searched here.")
        return super().look()

    # ------------------------------------------------------------ the trainer

    def train(self) -> tuple[sd.EncryptedAudioDataset, Result]:
        self.hand_over()
        return super().train()

    def hand_over(self) -> None:
        """Set a role in the config, the trainer's own keys, and a token for one corpus."""
        reference = load()[NAME]
        (pin,) = reference.pins
        context = base64.b64encode(context_bytes(context_for(pin.corpus_id))).decode()
        rule = {
            "capabilities": ["update"],
            "allowed_parameters": {"ciphertext": [], "context": [context]},
            "required_parameters": ["context"],
        }
        token = self.kms.make_token(json.dumps({"path": {f"transit/decrypt/{NAME}": rule}}))
        write_entry(NAME, dataclasses.replace(reference, options={**reference.options, "role": ROLE}))
        self.become({**self.server.environment(TRAINER), "VAULT_TOKEN": token})
        say(
            f"From here on a trainer reads, in sessions of {SESSION} s with the role {ROLE.rpartition('/')[2]}, "
            "limited to this prefix (get, no list, no put), with a KMS token that decrypts only for this corpus."
        )
        self.refused("with the trainer's own keys, without the role", dataclasses.replace(reference, options={}))
        os.environ["VAULT_TOKEN"] = self.kms.make_token('path "transit/decrypt/another" { capabilities=["update"] }')
        self.refused("under the role, with another corpus's KMS token", load()[NAME])
        os.environ["VAULT_TOKEN"] = token

    def refused(self, how: str, reference: object) -> None:
        try:
            sd.open_corpus(reference).close()  # type: ignore[arg-type]  # a Reference, as resolve() gives it
        except (AccessDenied, KMSDenied) as error:
            say(f"Refused {how}: {type(error).__name__}.")
        else:
            raise DemoError(f"the corpus opens {how}: please report this as SECURITY.md says")

    def become_owner(self) -> None:
        self.become({**self.server.environment(), "VAULT_TOKEN": self.kms.token})
        reference = load()[NAME]
        options = {name: value for name, value in reference.options.items() if name != "role"}
        write_entry(NAME, dataclasses.replace(reference, options=options))
        say("The owner of the bucket is back: a trainer's session may neither rotate nor erase.")

    def say_what_next(self) -> None:
        print("Both servers were stopped; the bucket's files are in the demo's folder. What to try next:")
        print("  make demo         # the same in a folder, which stays; it says what to try next")


def tell(options: argparse.Namespace, place: Workplace) -> int:
    servers = place.run / "servers"
    try:
        with seaweed(servers / "seaweedfs", SESSION, BUCKET) as store, openbao(servers / "openbao") as kms:
            return CloudStory(options, place, store, kms).tell()
    except (AssertionError, FileNotFoundError) as error:
        raise DemoError(f"a server for the demo did not start ({error}); run make install, and try again") from error
