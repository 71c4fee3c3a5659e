"""`securedata session`."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from securedata.cli.common import (
    add_command,
    add_corpus_options,
    add_target,
    out,
    print_json,
    reference,
)
from securedata.errors import InvalidArgument
from securedata.foreign.describe import ANOTHER_PROFILE

if TYPE_CHECKING:
    from securedata.access.session import Session

_ASKING = "SECUREDATA_SESSION_FOR"


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "session",
        session,
        help="credentials for one corpus, for an hour",
        about=(
            "Assume the role of a corpus under a policy that is cut to it, and print the credentials for other tools.\n"
            "They get objects under the corpus's root, and use its AWS KMS keys to decrypt under its encryption\n"
            "context; with --write they also put and delete objects. They list nothing and encrypt with no KMS key.\n"
            "securedata needs none of this: it assumes the role by itself.\n\n"
            "What is printed is a secret until it ends. Needs the pin."
        ),
        example=(
            '  eval "$(securedata session voice-a)"\n'
            "  securedata session voice-a --json\n"
            "  securedata session voice-a --format credential-process"
        ),
    )
    add_target(parser)
    parser.add_argument("--write", action="store_true", help="a session that may also put and delete objects")
    parser.add_argument("--role", metavar="ARN", help="the role to assume (default: that of the config entry)")
    parser.add_argument(
        "--format",
        choices=["env", "json", "credential-process"],
        default="env",
        metavar="FORMAT",
        help="env (default): lines for a shell; json; credential-process: what AWS tools run by themselves, as named\n"
        "under credential_process in ~/.aws/config",
    )
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    add_corpus_options(parser)


def session(args: Namespace) -> int:
    """Run the command."""
    from securedata.corpus.connection import role_source

    found = reference(args, args.target)
    if args.role:
        found = replace(found, options={**found.options, "role": args.role})
    if not found.options.get("role"):
        raise InvalidArgument(f"{args.target} has no role: name one in its config entry, or with --role")
    if os.environ.get(_ASKING) == found.root:
        raise InvalidArgument(
            f"the AWS profile that is to assume {found.options['role']} asks this command for its own credentials: "
            f"{ANOTHER_PROFILE}"
        )
    os.environ[_ASKING] = found.root  # whatever botocore runs inherits it
    try:
        assumed = role_source(found, args.write).assume()
    finally:
        del os.environ[_ASKING]
    if args.format == "env":
        out(_lines(assumed))
    elif args.format == "json":
        print_json({"root": found.root, "role": found.options["role"], "write": args.write, **_document(assumed)})
    else:
        print_json({"Version": 1, **_document(assumed)})
    return 0


def _document(assumed: Session) -> dict[str, Any]:
    keys = assumed.keys
    return {
        "AccessKeyId": keys.access_key,
        "SecretAccessKey": keys.secret_key,
        "SessionToken": keys.token,
        "Expiration": datetime.fromtimestamp(assumed.expires, UTC).isoformat(),
    }


def _lines(assumed: Session) -> str:
    keys = assumed.keys
    variables = {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": keys.token or "",
        "AWS_CREDENTIAL_EXPIRATION": _document(assumed)["Expiration"],
    }
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
