"""A receipt in words: what it states, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator

from securedata.lifecycle.receipt.members import DESTROYED, SCHEDULED
from securedata.lifecycle.receipt.statement import Statement
from securedata.printable import plural


def states(statement: Statement) -> list[str]:
    """What a receipt states, a line each."""
    return [*_erased(statement), *_reached(statement), *_said(statement)]


def does_not_state(statement: Statement) -> list[str]:
    """What is still possible, and what a reader might take it to say, a line each."""
    found = list(statement.remains)
    levels = {one.kms: one for one in statement.levels if one.kms}
    for uri in statement.sanitization.wraps:
        if uri not in levels:
            found.append(f"Nothing is stated of the KMS key {uri}.")
        elif levels[uri].level == SCHEDULED:
            found.append(f"The KMS key {uri} is not destroyed before {levels[uri].until}; that can be cancelled.")
    if all(one.level != DESTROYED for one in statement.levels):
        found.append("No KMS key is stated to be destroyed.")
    if statement.validation is None:
        found.append("Nobody is stated to have judged that this is enough (validation).")
    return [*found, statement.proves]


def _erased(statement: Statement) -> Iterator[str]:
    scope, request = statement.scope, statement.request
    yield f"Erasure {statement.id} from the corpus {statement.corpus.pin}."
    if request:
        yield f"Request {request.reference}" + (f", received {request.received}." if request.received else ".")
    people = f", of {plural(len(scope.people), 'commitment')} to people" if scope.people else ""
    counts = f"{plural(scope.rows, 'row')}, {scope.seconds:,.1f} s of audio, {plural(scope.objects, 'object')}"
    yield f"Scope ({scope.kind}): {counts}, {plural(scope.parts, 'manifest part')}{people}."
    deleted = statement.deleted
    listed = f"{plural(len(deleted.objects), 'object')} and {plural(len(deleted.parts), 'part')}"
    yield f"Deleted: {listed}, whose ids it lists, and {plural(deleted.head_versions, 'version')} of the head."


def _reached(statement: Statement) -> Iterator[str]:
    for level in statement.levels:
        yield f"Level: {level.words}."
    for check in statement.checked:
        result = "passed" if check.passed else "FAILED"
        yield (
            f"Checked by {statement.sanitization.tool} {statement.sanitization.version}: {check.what}, {check.how}: "
            f"{result}, {check.found}."
        )
    for one in statement.stated:
        yield f"Stated by the operator, not checked: {one.about}: {one.says}"
    if said := statement.validation:
        yield f"Validated by {said.by} on {said.day}: {said.says}"


def _said(statement: Statement) -> Iterator[str]:
    for one in statement.derived:
        receipt = f", by the receipt with the SHA-256 {one.receipt}" if one.receipt else ""
        yield f"Derived corpus {one.pin}: {one.state}{receipt}."
    if statement.models.where:
        found = ", ".join(statement.models.found) or "none"
        yield f"Models looked for in {', '.join(statement.models.where)}; found: {found}."
    times = statement.times
    moments = {"committed": times.committed, "deleted": times.deleted, "verified": times.verified}
    listed = "".join(f"{name} {moment}, " for name, moment in moments.items() if moment)
    responsible = f"; responsible: {statement.who.responsible}" if statement.who.responsible else ""
    yield f"Operator {statement.who.operator}{responsible}. By the operator's word: {listed}signed {times.signed}."
