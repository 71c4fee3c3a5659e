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
        help="print credentials for one corpus, valid for an hour",
        about=(
            "Assume the role of a corpus with a policy limited to it, and print the credentials for other tools. They\n"
            "can get objects under the corpus's root, and decrypt with its AWS KMS keys under its encryption context;\n"
            "with --write they can also put and delete objects. They cannot list, or encrypt with a KMS key.\n"
            "securedata itself does not need this command: it assumes the role on its own.\n\n"
            "The credentials are secret until they expire. Needs the pin."
        ),
        example=(
            '  eval "$(securedata session voice-a)"\n'
            "  securedata session voice-a --json\n"
            "  securedata session voice-a --format credential-process"
        ),
    )
    add_target(parser)
    parser.add_argument("--write", action="store_true", help="allow putting and deleting objects too")
    parser.add_argument("--role", metavar="ARN", help="the role to assume (default: that of the config entry)")
    parser.add_argument(
        "--format",
        choices=["env", "json", "credential-process"],
        default="env",
        metavar="FORMAT",
        help="env (default): lines for a shell; json; or credential-process: for AWS tools, which run this command "
        "if ~/.aws/config names it under credential_process",
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
        raise InvalidArgument(f"{args.target} has no role: name one in its config entry or with --role")
    if os.environ.get(_ASKING) == found.root:
        raise InvalidArgument(
            f"the AWS profile that should assume {found.options['role']} asks this command for its own credentials: "
            f"{ANOTHER_PROFILE}"
        )
    os.environ[_ASKING] = found.root  # programs that botocore runs inherit it
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
