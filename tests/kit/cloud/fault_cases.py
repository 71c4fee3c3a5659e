"""The fault matrix: what goes wrong, where, and how it ends.

The tests of cloud/faults run it and docs/faults.md shows it; `make test` takes the cases that are `daily`,
`make test-full` all of them.
`python -m tests.kit.cloud.fault_cases` writes the table.
"""

from __future__ import annotations

import re

from securedata import errors
from securedata.testing import faults
from tests.kit.cloud.fault_plans import (
    SLOW_DOWN,
    Case,
    aws,
    aws_error,
    commit,
    every_third,
    fetch,
    head,
    kms_down,
    lost_and_down,
    of_rows,
    part,
    post,
    put,
    put_part,
    s3_down,
    sts,
    sts_error,
    unwrap,
    vault,
)
from tests.kit.docs.tree import ROOT

PAGE = ROOT / "docs" / "faults.md"
TABLES = re.compile(r"(?P<open><!-- matrix -->\n).*?(?P<close><!-- end of matrix -->\n)", re.S)


MIDDLE = 4_000
"""A byte in the middle of every object's body."""

ERROR_500 = faults.status(500, "InternalError")
EXPIRED_403 = faults.status(403, "ExpiredToken")
CONFLICT = faults.answered(409, "ConditionalRequestConflict")
MISSING = faults.status(404, "NoSuchKey")
THROTTLED = vault(429, "rate limit quota exceeded")
DENIED = vault(403, "permission denied")
KMS_500 = vault(500, "internal error")
AWAY = errors.StorageUnreachable
BAD = errors.AuthenticationFailed

NETWORK = "check endpoint and network"
VERIFY = "run 'securedata verify'"
OBJECT = "objects/"
REFUSED = ("hcvault", "permission denied", "sign in again, or have the policy changed")
LATER = "try again later"
CHANGED = ("object", "changed after it was sealed", VERIFY)
CUT = ("object", "4000, but", VERIFY)

FETCHING = [
    Case("100 ms of delay for every request", fetch(faults.latency(0.1), None)),
    Case("connections reset in the middle of bodies", fetch(faults.reset(MIDDLE), 5), daily=True),
    Case("every body reset", fetch(faults.reset(MIDDLE), None), AWAY, (OBJECT, "tries in", NETWORK)),
    Case("bodies that stall", fetch(faults.stall(MIDDLE), 3), daily=True),
    Case("every body stalls", fetch(faults.stall(MIDDLE), None), AWAY, (OBJECT, "tries in", NETWORK)),
    Case("requests that are never answered", fetch(faults.silence, 3)),
    Case("bodies cut short", fetch(faults.truncated(MIDDLE), 5), daily=True),
    Case("bodies cut short, and Content-Length agrees", fetch(faults.truncated(MIDDLE, agrees=True), 2), daily=True),
    Case(
        "every body cut short, and Content-Length agrees",
        fetch(faults.truncated(MIDDLE, agrees=True), None),
        errors.Truncated,
        CUT,
    ),
    Case("Content-Length too large", fetch(faults.miscounted(1_000), 3), daily=True),
    Case("Content-Length too small", fetch(faults.miscounted(-1_000), 2)),
    Case("503 SlowDown", fetch(SLOW_DOWN, 8), daily=True),
    Case("503 SlowDown, always", fetch(SLOW_DOWN, None), AWAY, (OBJECT, "HTTP status 503", NETWORK), daily=True),
    Case("500", fetch(ERROR_500, 5)),
    Case("500, always", fetch(ERROR_500, None), AWAY, (OBJECT, "HTTP status 500", NETWORK)),
    Case("bodies that drip", fetch(faults.drip(2_000, 0.1), 3), daily=True),
    Case("every body drips too slowly", fetch(faults.drip(20, 0.1), None), AWAY, (OBJECT, "tries in", NETWORK)),
    Case("connections refused for 1.5 s", s3_down(1.5), daily=True, least=1.5),
    Case("connections refused for 20 s", s3_down(20), real=True, within=60, least=20),
    Case("connections refused, always", s3_down(), AWAY, (OBJECT, "tries in", NETWORK)),
    Case(
        "connections refused, always, with the times of the table above",
        s3_down(),
        AWAY,
        (OBJECT, "tries in 6", NETWORK),
        real=True,
        within=90,
        least=60,
    ),
    Case("answers lost", fetch(faults.lost_answer, 5)),
    Case("one bit flipped", fetch(faults.flipped(-1)), BAD, CHANGED, daily=True),
    Case(
        "403 for objects",
        fetch(faults.status(403, "AccessDenied"), None),
        errors.AccessDenied,
        (OBJECT, "refused or missing", "check what it allows"),
    ),
    Case("404 for an object that is there", of_rows(MISSING, 4), errors.ObjectMissing,
         ("object", "not on storage", "restore it, or run 'securedata encrypt --reseal'")),
]  # fmt: skip

CROPPING = [
    Case("connections reset in the middle of bodies", fetch(faults.reset(MIDDLE), 5)),
    Case("bodies cut short, and Content-Length agrees", fetch(faults.truncated(MIDDLE, agrees=True), 2), daily=True),
    Case("bodies cut short always, and Content-Length agrees", fetch(faults.truncated(MIDDLE, agrees=True), None),
         errors.Truncated, CUT),
    Case("Content-Length too large", fetch(faults.miscounted(1_000), 3)),
    Case("503 SlowDown", fetch(SLOW_DOWN, 8)),
    Case("one bit flipped", fetch(faults.flipped(MIDDLE)), BAD, CHANGED),
]  # fmt: skip

OPENING = [
    Case("head: connection reset", head(faults.reset(100), 2)),
    Case("head: 503 SlowDown", head(SLOW_DOWN, 3)),
    Case("head: 503 SlowDown, always", head(SLOW_DOWN, None), AWAY, ("head of s3://", "HTTP status 503", NETWORK)),
    Case("head: one bit flipped", head(faults.flipped(-1)), BAD, ("head of s3://", "changed after", VERIFY)),
    Case("part: connection reset", part(faults.reset(100), 2)),
    Case("part: stalls", part(faults.stall(100))),
    Case("part: one bit flipped", part(faults.flipped(-1)), BAD, ("table", "changed after", VERIFY)),
    Case("KMS slow by 0.5 s", unwrap(faults.latency(0.5), None)),
    Case("KMS throttles three calls", unwrap(THROTTLED, 3), daily=True),
    Case("KMS throttles, always", unwrap(THROTTLED, None), errors.KMSThrottled, ("hcvault", "too many calls", LATER)),
    Case("KMS down", kms_down(), errors.KMSUnreachable, ("hcvault", "refused", "check address and network"),
         daily=True),
    Case("KMS never answers", unwrap(faults.silence, None), errors.KMSUnreachable,
         ("hcvault", "no answer in time", "check address and network")),
    Case("KMS answers 500", unwrap(KMS_500, None), errors.KMSUnreachable,
         ("hcvault", "internal error", "check address and network")),
    Case("KMS refuses", unwrap(DENIED, None), errors.KMSDenied, REFUSED),
]  # fmt: skip

AWS = [
    Case("KMS slow by 0.5 s", aws(faults.latency(0.5), None)),
    Case("KMS throttles five calls", aws(aws_error(400, "ThrottlingException"), 5), daily=True),
    Case("KMS throttles, always", aws(aws_error(400, "ThrottlingException"), None), errors.KMSThrottled,
         ("aws-kms", "ThrottlingException: too many calls", LATER)),
    Case("one answer lost", aws(faults.lost_answer)),
    Case("KMS down", lambda between: between.aws.refuse(), errors.KMSUnreachable,
         ("aws-kms", "Could not connect", NETWORK)),
    Case("KMS never answers", aws(faults.silence, None), errors.KMSUnreachable,
         ("aws-kms", "no answer in time", NETWORK)),
    Case("KMS answers 500", aws(aws_error(500, "KMSInternalException"), None), errors.KMSUnreachable,
         ("aws-kms", "KMSInternalException", LATER)),
    Case("KMS refuses", aws(aws_error(400, "AccessDeniedException"), None), errors.KMSDenied,
         ("aws-kms", "AccessDeniedException", "check that you may use kms:Decrypt")),
    Case("the credentials expired", aws(aws_error(400, "ExpiredTokenException"), None), errors.KMSDenied,
         ("aws-kms", "expired or was revoked", "sign in again")),
]  # fmt: skip

EXPIRED = ("the keys of s3://", "within kms_wait=1 s: ", "check address and network")
RENEWING = [
    Case("KMS slow by 0.3 s", unwrap(faults.latency(0.3), None)),
    Case("KMS throttles for a while", unwrap(THROTTLED, 6), daily=True),
    Case("KMS down for 1.5 s", kms_down(1.5), daily=True),
    Case("KMS down for longer than `kms_wait`", kms_down(), errors.KeysExpired, EXPIRED, {"kms_wait": 1}, daily=True),
    Case("KMS never answers some calls", unwrap(faults.silence, 2)),
    Case("KMS's answers lost", unwrap(faults.lost_answer, 3)),
    Case("KMS answers 500 for a while", unwrap(KMS_500, 3)),
    Case("KMS refuses", unwrap(DENIED, None), errors.KMSDenied, REFUSED),
    Case("head: 503 SlowDown for a while", head(SLOW_DOWN, 6)),
]

SESSIONS = [
    Case("ExpiredToken for one fetch", fetch(EXPIRED_403), daily=True),
    Case("AccessDenied for one fetch", fetch(faults.status(403, "AccessDenied"))),
    Case("ExpiredToken, always", fetch(EXPIRED_403, None), errors.SessionExpired,
         (OBJECT, "a renewed one was refused too", "check the role")),
    Case("the session ends, and STS answers 503 six times", sts(sts_error(503, "ServiceUnavailable"), 6), rounds=8),
    # a session lives for 12 s, and began before
    Case("STS refuses connections until the session ends", lambda between: between.sts.refuse(10), rounds=8,
         within=60),
    Case("the session ends, and STS refuses", sts(sts_error(403, "AccessDenied"), None), errors.AccessDenied,
         ("the role arn:aws:iam:", "may not be assumed (AccessDenied)", "check its trust policy"), rounds=8),
]  # fmt: skip

REPLACE = {"on_error": "replace"}
REPLACING = [
    Case("404 for one object", of_rows(MISSING, 4), options=REPLACE, lost=(4,), daily=True),
    Case("503 SlowDown, always, for one object", of_rows(SLOW_DOWN, 4), options=REPLACE, lost=(4,)),
    Case("404 for two objects of twelve", of_rows(MISSING, 4, 9), errors.TooManyReplaced,
         ("samples of an epoch of 12", "more than 1 %: refresh() the dataset", "the last error: object"),
         REPLACE, lost=(4, 9), daily=True),
    Case("503 SlowDown, always, for all", fetch(SLOW_DOWN, None), AWAY, (OBJECT, "HTTP status 503", NETWORK), REPLACE),
    Case("connections refused, always", s3_down(), AWAY, (OBJECT, "tries in", NETWORK), REPLACE),
    Case("one bit flipped", fetch(faults.flipped(-1)), BAD, CHANGED, REPLACE, daily=True),
    Case("one object cut short", of_rows(faults.truncated(MIDDLE, agrees=True), 4), errors.Truncated, CUT, REPLACE),
    Case("403 for one object", of_rows(faults.status(403, "AccessDenied"), 4), errors.AccessDenied,
         (OBJECT, "refused or missing", "check what it allows"), REPLACE),
]  # fmt: skip

COMMITTING = [
    Case("answer to the put of the head lost", commit(faults.lost_answer), daily=True),
    Case("request to put the head lost", commit(faults.lost_request)),
    Case("put of the head: 503 SlowDown", commit(SLOW_DOWN, 2)),
    Case("put of the head: 500", commit(ERROR_500, 2)),
    Case("put of the head is never answered", commit(faults.silence)),
    Case("answer to the put of the head never comes", commit(faults.stall())),
    Case("put of the head: 503 SlowDown, always", commit(SLOW_DOWN, None), AWAY, ("head of s3://", "SlowDown", LATER)),
    Case("answer to the put of the head lost, and then it cannot be read", lost_and_down, errors.OutcomeUnknown,
         ("a commit to s3://", "may or may not have happened: it does not answer", "run it again"), within=60),
    Case("put of the head is sent twice", commit(faults.replayed), daily=True),
    Case("put of the head succeeds, but is answered with 409", commit(CONFLICT)),
    Case("put of the head succeeds, but is answered with 404", commit(faults.answered(404, "NoSuchKey"))),
    Case("put of the head succeeds, but is answered with 403", commit(faults.answered(403, "AccessDenied"))),
    Case("put of a part is sent twice", put_part(faults.replayed), daily=True),
    Case("put of a part succeeds, but is answered with 409", put_part(CONFLICT)),
    Case("put of an object is sent twice", put(faults.replayed), daily=True),
    Case("put of an object succeeds, but is answered with 409", put(CONFLICT)),
    Case("put of a part: 503 SlowDown", put_part(SLOW_DOWN, 2)),
    Case("answer to the put of a part lost", put_part(faults.lost_answer)),
    Case("part read back: one bit flipped", part(faults.flipped(-1)), BAD, ("table", "changed after", VERIFY)),
    Case("put of an object: 503 SlowDown", put(SLOW_DOWN, 2)),
    Case("put of an object: connection reset", put(faults.lost_request, 2)),
    Case("put of an object: connection reset in the middle of the body", put(faults.cut_request(1_000), 2)),
    Case("answer to the put of an object lost", put(faults.lost_answer), daily=True),
    Case("answer to the put of an object stalls", put(faults.stall())),
    Case("put of an object: 503 SlowDown, always", put(SLOW_DOWN, None), AWAY, (OBJECT, "SlowDown", LATER),
         within=90),
]  # fmt: skip

UPLOADING = [
    Case("answer to the start of the upload lost", post(faults.lost_answer, 0)),
    Case("a piece: 503 SlowDown", put(SLOW_DOWN, 2)),
    Case("a piece: connection reset", put(faults.lost_request, 2)),
    Case("a piece: connection reset in its middle", put(faults.cut_request(3_000_000), 2)),
    Case("answer to a piece lost", put(faults.lost_answer), daily=True),
    Case("answer to the end of the upload lost", post(faults.lost_answer, 1)),
    Case("start of the upload is sent twice", post(faults.replayed, 0)),
    Case("a piece is sent twice", put(faults.replayed)),
    Case("end of the upload is sent twice", post(faults.replayed, 1), daily=True),
    Case("end of the upload succeeds, but is answered with 412", post(faults.answered(412, "PreconditionFailed"), 1)),
    Case("end of the upload succeeds, but is answered with 404", post(faults.answered(404, "NoSuchUpload"), 1)),
    Case("the second piece: 503 SlowDown, always", put(SLOW_DOWN, None, 1), AWAY, (OBJECT, "SlowDown", LATER),
         within=90),
]  # fmt: skip

INGESTING = [
    Case("every third put: 503 SlowDown", every_third(SLOW_DOWN), daily=True),
    Case("every third put: connection reset in the middle of the body", every_third(faults.cut_request(500))),
    Case("answer to every third put lost", every_third(faults.lost_answer)),
    Case("every third put is sent twice", every_third(faults.replayed), daily=True),
    Case("connections refused for 1.5 s", s3_down(1.5)),
    Case("every put of an object: 503 SlowDown", put(SLOW_DOWN, None), AWAY, (OBJECT, "SlowDown", LATER), within=90),
]

GROUPS = {
    "A batch is fetched": ("every sample once, bit-exact", FETCHING),
    "Crops are fetched": ("every crop once, bit-exact", CROPPING),
    "A dataset is opened": ("it opens, and every sample comes once, bit-exact", OPENING),
    "A dataset is opened with AWS KMS (emulated by moto)": ("it opens, and every sample comes once, bit-exact", AWS),
    "Keys are renewed in the middle of an epoch": ("every sample once, bit-exact", RENEWING),
    "A role's session is refused or ends in the middle of an epoch": ("every sample once, bit-exact", SESSIONS),
    'Samples are replaced: `on_error="replace"`': ("the next row in its place, counted; all others once", REPLACING),
    "Rows are committed": ("committed once", COMMITTING),
    "A recording of 17 MB is put in pieces": ("committed once, bit-exact", UPLOADING),
    "A folder is ingested": ("every recording once, bit-exact", INGESTING),
}

ERASED = ("object", "the person recorded in it was erased", "refresh() the dataset")
OTHERS: list[tuple[str, type[Exception] | None, tuple[str, ...]]] = [
    ("the session ends, and a new one is granted", None, ()),
    ("the session is denied, and the renewed one too", errors.AccessDenied,
     (OBJECT, "refused or missing", "check what it allows")),
    ("the KMS's token is revoked", errors.KMSDenied, ("hcvault", "revoked", "sign in again")),
    ("a person is erased", None, ()),
    ('a person is erased, `on_erased="raise"`', errors.SubjectErased, ERASED),
    ("a worker is killed with SIGKILL", RuntimeError, ("DataLoader worker", "(pid")),
]  # fmt: skip
"""Faults that no proxy makes: (fault, error, text), each with a test of its own."""


def _ends(well: str, error: type[Exception] | None, says: tuple[str, ...]) -> str:
    return well if error is None else f"`{error.__name__}`: " + " ... ".join(f"`{piece}`" for piece in says)


def tables() -> str:
    """The matrix, in Markdown."""
    lines: list[str] = []
    for title, (well, cases) in GROUPS.items():
        lines += ["", f"### {title}", "", "| fault | how it ends |", "|---|---|"]
        lines += [f"| {case.fault} | {_ends(well, case.error, case.says)} |" for case in cases]
    lines += ["", "### The run as a whole", "", "| fault | how it ends |", "|---|---|"]
    lines += [f"| {fault} | {_ends('every sample once, bit-exact', error, says)} |" for fault, error, says in OTHERS]
    return "\n".join([*lines, "", ""])


def with_tables(page: str) -> str:
    """The page with today's matrix."""
    return TABLES.sub(lambda found: found["open"] + tables() + found["close"], page)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
