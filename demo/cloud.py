"""`make demo-cloud`: the demo on an object store and a KMS, SeaweedFS and OpenBao, which are started and ended here.

The owner of the bucket seals the voices. Then a trainer, who may do nothing in the bucket and read no key, assumes a
role under a session that sees one corpus, with a token that the KMS answers for that corpus alone.
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
"""Seconds that a session lives here, so that some end while the model trains; AWS gives 15 minutes or more."""


class CloudStory(Story):
    """The same steps; the store is a bucket, and from step 5 on the one who reads is not the one who wrote."""

    def __init__(self, options: argparse.Namespace, place: Workplace, store: Seaweed, kms: Bao) -> None:
        super().__init__(options, place)
        self.server, self.kms = store, kms
        self.become({**store.environment(), "VAULT_TOKEN": kms.token})
        say(f"An object store at {store.endpoint} (SeaweedFS) and a KMS at {kms.address} (OpenBao) run for this demo.")

    def become(self, environment: dict[str, str]) -> None:
        """Whoever is meant from here on: the commands and workers that the demo starts are, too."""
        os.environ.update(environment)

    # ------------------------------------------------------------ the owner

    def target(self) -> str:
        uri = self.kms.make_key(NAME)
        self.securedata("init", ROOT, "--name", NAME, "--kms", uri)
        return NAME

    def began(self) -> bool:
        return bool(self.server.client().list_objects_v2(Bucket=BUCKET, Prefix=f"{NAME}/manifest/").get("Contents"))

    def who_has_the_key(self) -> str:
        return "The key that opens it never leaves the KMS. Whoever has the bucket has noise: step 4 looks."

    def look(self) -> Leaks:
        """Everything that the bucket's owner can download is searched."""
        client, count = self.server.client(), 0
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{NAME}/"):
            for entry in page.get("Contents", ()):
                path = self.place.store / entry["Key"].removeprefix(f"{NAME}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read())
                count += 1
        say(f"With the bucket's admin keys all of its {count:,} objects are downloaded, and searched here.")
        return super().look()

    # ------------------------------------------------------------ the trainer

    def train(self) -> tuple[sd.EncryptedAudioDataset, Result]:
        self.hand_over()
        return super().train()

    def hand_over(self) -> None:
        """A role in the config, a trainer's own keys, and a token for one corpus."""
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
            f"From here on a trainer reads, under sessions of {SESSION} s of the role {ROLE.rpartition('/')[2]}, cut "
            "to this prefix (get, no list, no put), with a KMS token that decrypts for this corpus alone."
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

    def say_what_next(self) -> None:
        print("Both servers have ended with the demo, and the bucket's files lie in its folder. What to try next:")
        print("  make demo         # the same in a folder, which stays; it says how to go on")


def tell(options: argparse.Namespace, place: Workplace) -> int:
    servers = place.run / "servers"
    try:
        with seaweed(servers / "seaweedfs", SESSION, BUCKET) as store, openbao(servers / "openbao") as kms:
            return CloudStory(options, place, store, kms).tell()
    except (AssertionError, FileNotFoundError) as error:
        raise DemoError(f"a server of the demo did not start ({error}); make install, and run it again") from error
