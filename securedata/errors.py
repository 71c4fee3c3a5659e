"""Every error that securedata raises on purpose, one class per distinguishable cause.

SecuredataError
├── InvalidArgument             a call or option that makes no sense (also a ValueError)
├── ConfigError                 the config file, a name that is not in it, other settings of this machine
├── FormatError                 what was read is not the sealed object that was asked for
│   ├── NotSealed               not a sealed object at all
│   ├── UnknownVersion          written by a newer securedata
│   ├── UnknownSuite            a cipher suite that this version does not know
│   ├── MalformedHeader         header fields that contradict the format
│   ├── LimitExceeded           claims a size above the limit
│   ├── WrongKind               a head, a table and data are not interchangeable
│   ├── WrongCorpus             belongs to another corpus
│   ├── WrongObject             another object of this corpus
│   ├── Truncated               shorter or longer than when it was sealed
│   └── AuthenticationFailed    wrong key, or changed after it was sealed
├── KeysError                   keys, the KMS, the pin
│   ├── InvalidKMSURI
│   ├── NoTrustedKey            no wrap in the head matches a KMS key that the caller trusts
│   ├── KMSDenied               the KMS refused
│   │   └── KMSMisconfigured    it was not asked: a URL, profile, file or proxy cannot be right (also a ConfigError)
│   ├── KMSUnreachable          the KMS did not answer
│   ├── KMSThrottled            the KMS asked to slow down
│   ├── ContextNotBound         the KMS key ignores the encryption context
│   ├── PinRequired             writing needs the pin
│   ├── PinMismatch             not the corpus that was pinned
│   ├── KeysExpired             the grant expired and could not be renewed
│   ├── NoOperatorKey           no key on this machine that signs receipts
│   └── OperatorKeyRefused      that key cannot be read, is open to others, or is not the one in the config
├── CorpusError                 head, manifest, rows
│   ├── NotACorpus              no head here
│   ├── CorpusGone              there was a corpus, but its head is missing
│   ├── CorpusExists            init where something exists already
│   ├── MalformedManifest       authentic, but its content breaks the rules of the format
│   ├── PartMissing             the head names a manifest part that storage does not have
│   ├── OlderGeneration         the head is older than one already seen
│   ├── SupersededKey           a head under a corpus key that a rotation replaced
│   ├── UnconfirmedGeneration   the head might not be the newest, and prune would delete what it does not name
│   ├── SubjectErased           the person or the recording was erased
│   ├── SubjectRestricted       a request to erase the person met a hold: the rows open for nobody until it is decided
│   ├── SubjectHeld             the person is under a hold, so the row stays as it is (also a PermissionError)
│   ├── ConsentExpired          the consent to a recording ended after the corpus was opened
│   ├── PurposeRequired         the corpus opens only with a purpose named
│   ├── RowReplaced             the row was replaced or removed after the corpus was opened
│   ├── ObjectMissing           the head names an object that storage does not have
│   ├── GenerationChanged       a pickle or a persistent worker has another generation of the corpus
│   ├── CommitRace              other writers kept winning
│   ├── CorpusBusy              another process kept a lock on this machine
│   ├── OutcomeUnknown          a lost answer that can no longer be resolved
│   ├── HorizonInFuture         a prune ran under a wrong clock: nothing new can be committed
│   ├── NoSuchPath              no such row (also a FileNotFoundError)
│   ├── IsAFolder               a folder where a file was expected (also an IsADirectoryError)
│   ├── NoSuchSubject           no row names this person
│   ├── NoSuchHold              this case does not hold this person
│   └── SubjectUnknown          nothing says whose voice it is, and that is never guessed
├── StorageError
│   ├── NotFound                (also a FileNotFoundError)
│   ├── AlreadyExists
│   ├── PreconditionFailed      a conditional put that lost
│   ├── NotAFile                a link, FIFO, device or folder where a file should be
│   ├── AccessDenied            refused, or missing where a session may not list
│   ├── DeleteRefused           versions cannot be listed or deleted, so what is deleted might be restored
│   ├── NoObjectLock            storage has no legal holds that stop a deletion
│   ├── SessionExpired          the storage session expired or was revoked, and could not be renewed
│   ├── StorageUnreachable      did not answer, or failed underneath
│   └── UnsafeStorage           conditional puts are not honoured: not safe for writers
├── ReceiptError                the receipt of an erasure
│   ├── MalformedReceipt        not a signed note, or no receipt in it
│   ├── UnknownSigner           none of the given keys signed it
│   ├── BadSignature            changed after it was signed, or signed by another key of the same name
│   └── WrongOpening            an opening that is of another receipt, or of a person whom it does not name
├── MalformedLineage            the record beside a model cannot be read
├── PlaintextRefused            plaintext would have reached a disk
├── UndecodableMedia            opened and authentic, but no audio that can be decoded
└── TooManyReplaced             more than 1 % of an epoch's samples could not be read

Every class can be made from one string and pickles: a DataLoader raises a worker's error again in
the main process as `type(text)`. No class has an attribute `message`, because torch would then call it
differently. Texts name root and object id; a logical path is often a person's name, so it is an attribute.
"""

from __future__ import annotations

from typing import Any

from securedata.printable import printable_lines, without_secrets_within


class SecuredataError(Exception):
    """Base of all errors.

    Attributes:
        root: the corpus's root, if the error concerns one.
        object_id: the 16-byte id of the sealed object, if the error concerns one.
        path: the logical path of the row. Never part of the text: paths are often people's names.
    """

    def __init__(
        self, text: str = "", *, root: str | None = None, object_id: bytes | None = None, path: str | None = None
    ) -> None:
        # escaped here, so that a traceback is safe to print too: texts hold foreign names, of keys on storage or a
        # server's codes, and a caller's words: a source or name in a manifest might be a signed URL or hold a password
        super().__init__(printable_lines(without_secrets_within(text)))
        self.root = root
        self.object_id = object_id
        self.path = path

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self),), {"root": self.root, "object_id": self.object_id, "path": self.path})


class InvalidArgument(SecuredataError, ValueError):
    """A call or option that makes no sense; the text shows the choices."""


class ConfigError(SecuredataError):
    """The config file, or another setting of this machine, cannot be read or cannot be right."""


class FormatError(SecuredataError):
    """What was read is not the sealed object that was asked for."""


class NotSealed(FormatError):
    """The bytes do not begin like a sealed object."""


class UnknownVersion(FormatError):
    """A format version that this securedata does not know."""


class UnknownSuite(FormatError):
    """A cipher suite that this securedata does not know."""


class MalformedHeader(FormatError):
    """Header fields that contradict the format."""


class LimitExceeded(FormatError):
    """A claimed size above the limit; both numbers are in the text."""


class WrongKind(FormatError):
    """A head, a table and data are not interchangeable."""


class WrongCorpus(FormatError):
    """The object says that it belongs to another corpus."""


class WrongObject(FormatError):
    """The object says that it is another object of this corpus."""


class Truncated(FormatError):
    """Shorter or longer than when it was sealed."""


class AuthenticationFailed(FormatError):
    """Wrong key, or changed after it was sealed."""


class KeysError(SecuredataError):
    """Keys, the KMS, the pin."""


class InvalidKMSURI(KeysError):
    """A KMS URI that cannot be parsed, or whose scheme no provider serves."""


class NoTrustedKey(KeysError):
    """None of the head's wraps matches a KMS key that the caller trusts."""


class KMSDenied(KeysError):
    """The KMS refused: no permission, wrong key, or a blob that it did not make."""


class KMSUnreachable(KeysError):
    """The KMS did not answer."""


class KMSThrottled(KeysError):
    """The KMS asked to slow down."""


class KMSMisconfigured(KMSDenied, ConfigError):
    """The KMS could not be asked: an endpoint, profile, CA file, proxy or token cannot be right."""


class ContextNotBound(KeysError):
    """A KMS key that decrypts under any context cannot keep corpora apart."""


class PinRequired(KeysError):
    """Writing needs the pin of the corpus."""


class PinMismatch(KeysError):
    """The corpus at this root is not the pinned one."""


class KeysExpired(KeysError):
    """The grant expired and could not be renewed; the cause is chained."""


class NoOperatorKey(KeysError):
    """This machine has no operator key, so no receipt can be signed."""


class OperatorKeyRefused(KeysError):
    """The operator key cannot be read, is open to others, or is not the key whose public half the config has."""


class CorpusError(SecuredataError):
    """Head, manifest and rows."""


class NotACorpus(CorpusError):
    """There is no head at this root."""


class CorpusGone(CorpusError):
    """There was a corpus at this root, but its head is missing."""


class CorpusExists(CorpusError):
    """Init refuses a root under which anything exists."""


class MalformedManifest(CorpusError):
    """A head or part that is authentic but breaks the rules of the format."""


class PartMissing(CorpusError):
    """The head names a manifest part that storage does not have."""


class OlderGeneration(CorpusError):
    """The head is older than one that was already seen, or was not made from it."""


class UnconfirmedGeneration(CorpusError):
    """This machine has not seen the corpus: it would not notice a restored old head, and prune would obey it."""


class SupersededKey(CorpusError):
    """The head is sealed under a corpus key that a later head replaced."""


class SubjectErased(CorpusError):
    """The person recorded in this object, the recording or its consent was erased from the corpus."""


class ConsentExpired(CorpusError):
    """The consent to read a recording has ended, after the corpus was opened; `refresh()` leaves it out."""


class PurposeRequired(CorpusError):
    """The corpus opens only with a purpose named, so that only recordings with consent to it are read."""


class SubjectRestricted(CorpusError):
    """A request to erase the person met a hold, after the corpus was opened: the rows open for nobody."""


class SubjectHeld(CorpusError, PermissionError):
    """The person recorded in a row is under a hold, so the row is neither removed, replaced nor renamed."""


class RowReplaced(CorpusError):
    """The row was replaced or removed after the corpus was opened."""


class ObjectMissing(CorpusError):
    """The head names an object that storage does not have."""


class GenerationChanged(CorpusError):
    """A pickle, or a persistent worker of a DataLoader, has another generation of the corpus than the current one."""


class CommitRace(CorpusError):
    """Other writers replaced the head again and again; nothing was committed."""


class CorpusBusy(CorpusError):
    """Another process on this machine kept a lock for too long; what needed the lock was not done."""


class OutcomeUnknown(CorpusError):
    """An answer was lost and can no longer be resolved: the commit might not have happened, or not last."""


class HorizonInFuture(CorpusError):
    """The head's horizon is later than storage's time: objects sealed now would count as left over."""


class NoSuchPath(CorpusError, FileNotFoundError):
    """No row has this path."""


class IsAFolder(CorpusError, IsADirectoryError):
    """The path is a folder of logical paths, but a file was expected."""


class NoSuchSubject(CorpusError):
    """No row of the corpus names this person. The text does not have the name."""


class NoSuchHold(CorpusError):
    """This case does not hold this person."""


class SubjectUnknown(CorpusError):
    """Nothing says whose voice it is, and the subject is never guessed."""


class StorageError(SecuredataError):
    """The storage that holds the sealed objects."""


class NotFound(StorageError, FileNotFoundError):
    """No such key on storage."""


class AlreadyExists(StorageError):
    """A key that must be new already exists."""


class NotAFile(StorageError):
    """Below a local root a link, FIFO, socket, device or folder is where a file should be; it was not opened."""


class PreconditionFailed(StorageError):
    """A conditional put lost: the key changed since it was read."""


class AccessDenied(StorageError):
    """Refused, or missing where the session cannot list."""


class DeleteRefused(StorageError):
    """Storage does not let us list or delete versions, so what is deleted might be restored; the text says why."""


class NoObjectLock(StorageError):
    """Storage has no legal holds that keep a version from being deleted."""


class SessionExpired(StorageError):
    """The storage session expired or was revoked, and a renewed one was refused too."""


class StorageUnreachable(StorageError):
    """Storage did not answer or failed underneath; the text says how, without quoting another library."""


class UnsafeStorage(StorageError):
    """Storage that does not honour conditional puts, so two writers could lose rows."""


class ReceiptError(SecuredataError):
    """The receipt of an erasure."""


class MalformedReceipt(ReceiptError):
    """Not a signed note, or a signed note that is no receipt; also a receipt that contradicts itself."""


class UnknownSigner(ReceiptError):
    """None of the keys that the caller trusts signed it."""


class BadSignature(ReceiptError):
    """Changed after it was signed, or signed by another key that has the name and id of a trusted one."""


class WrongOpening(ReceiptError):
    """An opening that is of another receipt, or of a person whom the receipt does not name."""


class MalformedLineage(SecuredataError):
    """The lineage record of a model is not one, or was changed or cut."""


class PlaintextRefused(SecuredataError):
    """The call would have written plaintext to a disk."""


class UndecodableMedia(SecuredataError):
    """The object is authentic, but holds no audio that can be decoded."""


class TooManyReplaced(SecuredataError):
    """More than 1 % of an epoch's samples could not be read and were replaced; the last error is chained."""
