"""What an engine may ask for: keys and storage, as small protocols that `appliance` fills."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

import msgspec

from core.errors import CiphertextError
from core.secret import Secret

T = TypeVar("T")
Names = list[str]  # in a class that has a method `list`, the annotation would name that
T_co = TypeVar("T_co", covariant=True)

# --- keys ---------------------------------------------------------------------------------------------------------


class Custody(Enum):
    """Where a key is when it works: inside the HSM, or in memory while only its stored form is HSM-encrypted."""

    HSM = "hsm"
    SEALED = "sealed"


class KeyKind(Enum):
    """What a key is, named as SP 800-131A, RFC 8422, RFC 8439 and FIPS 204 name it.

    Material, where a key is imported or exported: AES, ChaCha20 and HMAC keys as they are; Ed25519 as its seed of 32
    bytes (RFC 8032, 5.1.5), ML-DSA as its seed of 32 bytes (FIPS 204, algorithm 1); EC and RSA as PKCS #8 in DER.
    """

    AES_128 = "aes-128"
    AES_256 = "aes-256"
    CHACHA20_POLY1305 = "chacha20-poly1305"
    XCHACHA20_POLY1305 = "xchacha20-poly1305"  # draft-irtf-cfrg-xchacha-03
    HMAC = "hmac"  # 64 bytes unless asked for another size, so that HMAC-SHA-512 accepts it everywhere
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    EC_P521 = "ec-p521"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    ED25519 = "ed25519"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"

    __hash__ = object.__hash__


class KeyUsage(Enum):
    """The one thing a key may do; a wrapped blob does not say it, the sealed record does."""

    ENCRYPT = "encrypt"  # and decrypt; of an RSA key: decrypt by OAEP
    SIGN = "sign"
    SIGN_DECRYPT = "sign-decrypt"  # RSA keys of transit, which Vault's API lets do both
    MAC = "mac"  # HMAC with an HMAC key, CMAC with an AES key
    DERIVE = "derive"  # makes keys, one for each context: ciphers of its own kind, or Ed25519 keys

    __hash__ = object.__hash__


class SignatureScheme(Enum):
    """How a digest is signed. Digests are computed by the caller; Ed25519 and ML-DSA sign the message itself."""

    ECDSA = "ecdsa"  # signature as DER ECDSA-Sig-Value (RFC 3279, 2.2.3)
    RSA_PKCS1V15 = "pkcs1v15"
    RSA_PKCS1V15_RAW = "pkcs1v15-raw"  # without DigestInfo: what is signed is padded as it is
    RSA_PSS = "pss"
    ED25519 = "ed25519"  # pure (RFC 8032)
    ML_DSA = "ml-dsa"  # pure, with an empty context string (FIPS 204, algorithm 2)

    __hash__ = object.__hash__


class WrappedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as the store holds it, in a record sealed under its path and version.

    The blobs bind neither usage nor type, so this record does. Under `hsm` custody `wrapped` is the RFC 3394/5649 blob
    under the KEK named by `kek_id` and `escrow` the same key under the escrow key (None when escrow was declined).
    Under `sealed` custody `wrapped` is an AES-256-GCM ciphertext of its material, made inside the HSM by the sealing
    key that `kek_id` names; it comes back with that key, so it has no escrow blob of its own.
    """

    key_id: str  # a UUID; names the key in caches
    kind: KeyKind
    usage: KeyUsage
    custody: Custody
    mechanism: str  # PKCS#11 name of what made `wrapped`: "AES_KEY_WRAP"
    kek_id: str
    wrapped: bytes
    escrow: bytes | None = None
    escrow_id: str = ""
    public_key: bytes | None = None  # SubjectPublicKeyInfo, DER
    format: int = 1


class AeadInput(msgspec.Struct, frozen=True):
    """One item of a batch: what to encrypt or decrypt, and what to bind it to.

    `context` chooses the derived key where the key's usage is DERIVE, and is empty everywhere else.
    """

    payload: bytes
    associated_data: bytes = b""
    context: bytes = b""


class KeyCustodian(Protocol):
    """Makes and uses keys without showing them.

    Every call may raise an HsmError. Calls are quick and run inline on a local token; elsewhere they suspend.
    A key that cannot do what is asked of it is a KeyPolicyError, whose sentence says why.
    """

    def custody_of(self, kind: KeyKind, usage: KeyUsage) -> Custody:
        """Where a new key of this kind and usage would live on this token: in the HSM if a self-test proved it."""
        ...

    async def generate_key(
        self, kind: KeyKind, *, usage: KeyUsage, custody: Custody | None = None, size: int = 0
    ) -> WrappedKey:
        """Generate a key; in `hsm` custody inside the HSM, wrapped at birth under the KEK and the escrow key.

        `custody` None: in the HSM wherever it can be. `size` in bytes: of an HMAC key only, 0 means 64. Raises
        KeyPolicyError when `custody` is HSM and the token cannot have such a key.
        """
        ...

    async def import_key(
        self, kind: KeyKind, material: Secret, *, usage: KeyUsage, custody: Custody | None = None
    ) -> WrappedKey:
        """Take over a key made elsewhere. Raises InvalidRequestError for material that is not a key of that kind.

        Custody as in `generate_key`; with None, what the token cannot import faithfully (an HMAC key of odd length)
        is sealed.
        """
        ...

    async def export_key(self, key: WrappedKey) -> Secret:
        """The material of a key in `sealed` custody. Raises KeyPolicyError for one in the HSM: it cannot leave."""
        ...

    async def encrypt(self, key: WrappedKey, items: Sequence[AeadInput], *, convergent: bool = False) -> list[bytes]:
        """Encrypt by the AEAD of the key's kind: nonce, ciphertext, tag (16 bytes).

        AES-GCM (SP 800-38D) and ChaCha20-Poly1305 (RFC 8439) under a fresh random nonce of 12 bytes each, XChaCha20
        of 24. With usage DERIVE, under the key derived for the item's context; `convergent` (of derived keys only)
        then takes the nonce from a MAC over plaintext and associated data, so that equal inputs give equal outputs.
        """
        ...

    async def decrypt(self, key: WrappedKey, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
        """Undo `encrypt`; an item that does not authenticate is answered by an error in its place."""
        ...

    async def decrypt_oaep(
        self, key: WrappedKey, ciphertexts: Sequence[bytes], *, hash_name: str = "sha256"
    ) -> list[bytes | CiphertextError]:
        """RSAES-OAEP (RFC 8017, 7.1.2) with MGF1 of the same hash and an empty label; errors as in `decrypt`."""
        ...

    async def mac(self, key: WrappedKey, messages: Sequence[bytes], *, hash_name: str = "") -> list[bytes]:
        """HMAC (FIPS 198-1) with a hash of core.public_keys.HASHES; for an AES key CMAC (SP 800-38B), without one."""
        ...

    async def sign(
        self,
        key: WrappedKey,
        digests: Sequence[bytes],
        *,
        scheme: SignatureScheme,
        hash_name: str = "sha256",
        salt_length: int | None = None,
        context: bytes = b"",
    ) -> list[bytes]:
        """Sign digests made with `hash_name` (messages, for Ed25519, ML-DSA and raw PKCS #1 v1.5).

        `salt_length` in bytes is for PSS; None: the digest's length. `context` chooses the derived key of an Ed25519
        key with usage DERIVE.
        """
        ...

    async def derived_public_key(self, key: WrappedKey, context: bytes) -> bytes:
        """SubjectPublicKeyInfo of the Ed25519 key that a key with usage DERIVE makes for the context."""
        ...

    async def random(self, length: int) -> bytes:
        """`length` bytes of the HSM's generator."""
        ...


# --- storage ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored value and its revision: 1 at creation, one more at every write; 0 stands for "absent" in cas."""

    value: bytes
    revision: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """That something was changed: names and numbers, never values. Whoever may see the path may see all of it."""

    type: str  # "kv-v2/data-write"
    path: str  # below the mount: "data/apps/web"
    metadata: dict[str, str] = msgspec.field(default_factory=dict)  # {"operation": "data-write", "version": "3"}


class CatalogRow(msgspec.Struct, frozen=True, kw_only=True):
    """One of very many things that are looked for by more than their name: a certificate.

    The body is sealed. The columns are not secret: they stand in the database as they are, authenticated together with
    the body. Terms are neither secret nor authenticated: whoever finds by them looks into the body.
    """

    row_id: str  # unique in its catalog: a serial number
    body: bytes
    state: int = 0  # 0 to 32767; what it means is the engine's affair
    group: str = ""  # whose it is: the id of an issuer
    due_at: int = 0  # epoch seconds: when it ends
    changed_at: int = 0  # epoch seconds: when something happened to it that others must hear of; 0: never
    terms: tuple[str, ...] | None = None  # what it can be found by; None at a second `put_row`: as they were
    number: int = 0  # given by the store when the row is new; later rows have higher ones
    revision: int = 0


class CatalogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are wanted: all that is said must hold. `after` is the `next` of the page before."""

    states: tuple[int, ...] = ()  # one of them; (): any
    group: str | None = None
    due_from: int | None = None  # due_at >= this
    due_before: int | None = None  # due_at < this
    changed_from: int | None = None  # changed_at >= this, and not 0
    terms: tuple[str, ...] = ()  # each of them; one that ends in "*" stands for all that begin so
    by_due: bool = False  # in the order of (due_at, number); False: of number
    after: str = ""
    limit: int = 100  # 1 to 1000


class CatalogPage(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. There may be more when `next` is not empty, even if there are fewer rows than the limit.

    So a query that finds little among very many rows takes several calls, each of them short.
    """

    rows: list[CatalogRow]  # without their terms
    next: str = ""


class Transaction(Protocol):
    """Reads and writes that happen together or not at all."""

    async def get(self, path: str) -> Entry | None:
        """The entry as this transaction sees it."""
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names below `prefix`, sorted; a folder ends in "/". `limit` 0 means all."""
        ...

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        """Write, if the present revision is `cas` (0: must be absent; None: whatever it is). Answers the new revision.

        Raises CasMismatchError.
        """
        ...

    async def delete(self, path: str) -> bool:
        """Remove the entry; whether there was one."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Remove every entry whose path starts with `prefix`; how many."""
        ...

    async def announce(self, event: Event) -> None:
        """Tell subscribers and webhooks, if this is committed: at least once, in the order of the commits."""
        ...

    async def row(self, catalog: str, row_id: str) -> CatalogRow | None:
        """The row as this transaction sees it, without its terms. Raises IntegrityError."""
        ...

    async def put_row(self, catalog: str, row: CatalogRow, *, cas: int | None = None) -> int:
        """Write (row.number and row.revision are ignored; `cas` as in `put`). Answers the new revision.

        Raises CasMismatchError.
        """
        ...

    async def put_rows(self, catalog: str, rows: Sequence[CatalogRow], *, cas: int) -> set[str]:
        """Write those that are at revision `cas` (0: absent), in few statements; their ids. Each row stands there once.

        The others stay as they are: whoever asked for them has lost. Raises InvalidRequestError for a row that cannot
        be stored, and has written nothing then.
        """
        ...

    async def delete_rows(self, catalog: str, row_ids: Sequence[str]) -> int:
        """Remove those that exist, in few statements; how many there were."""
        ...


class DecodedCache(Protocol[T_co]):
    """Decoded entries in memory, dropped by every worker as soon as a commit touches their path."""

    def peek(self, path: str) -> T_co | None:
        """What is in memory now; None sends the caller to `get`."""
        ...

    async def get(self, path: str) -> T_co | None:
        """From memory or from the store; None when the entry does not exist."""
        ...


class StorageView(Protocol):
    """One mount's part of the barrier, as chroot would show it. Paths are relative to it."""

    @property
    def sequence(self) -> int:
        """A number that any commit of anybody advances: what was read while it stood still holds while it does."""
        ...

    async def get(self, path: str) -> Entry | None:
        """The entry, decrypted and authenticated under its path. Raises IntegrityError."""
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names below `prefix`, sorted; a folder ends in "/"."""
        ...

    async def paths(self, prefix: str, *, after: str = "", limit: int = 0) -> Names:
        """What follows `prefix` in every path that starts with it, at any depth, sorted, behind `after`."""
        ...

    async def transact(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `body` in one transaction and commit it; durable when this returns.

        `body` may run again from the start after a serialisation failure, so it must have no other effect.
        """
        ...

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        """A transaction of one write."""
        ...

    async def delete(self, path: str) -> bool:
        """A transaction of one delete."""
        ...

    async def row(self, catalog: str, row_id: str) -> CatalogRow | None:
        """The row of a catalog of this mount, without its terms. Raises IntegrityError."""
        ...

    async def row_ids(self, catalog: str, *, after: str = "", limit: int = 0) -> Names:
        """Ids of rows, sorted, behind `after`. `limit` 0 means all."""
        ...

    async def find_rows(self, catalog: str, query: CatalogQuery) -> CatalogPage:
        """A page of rows. Raises InvalidRequestError for an `after` that is no cursor of this query."""
        ...

    async def count_rows(
        self,
        catalog: str,
        *,
        states: Sequence[int] = (),
        group: str | None = None,
        due_from: int | None = None,
        due_before: int | None = None,
    ) -> int:
        """How many rows there are of that kind; reads an index, some millions a second."""
        ...

    def row_cache(self, catalog: str, decode: Callable[[CatalogRow], T], *, capacity: int = 10_000) -> DecodedCache[T]:
        """Decoded rows of a catalog in memory, by row_id."""
        ...

    def decoded_cache(
        self,
        load: Callable[["StorageView", str, Entry], Awaitable[T]],
        *,
        capacity: int = 10_000,
        weigh: Callable[[T], int] | None = None,
        budget: int = 0,
        absent: T | None = None,
    ) -> DecodedCache[T]:
        """A cache of what `load` makes of an entry.

        `load` may read more entries: then every write to those must also rewrite the entry itself. With `weigh` (bytes
        of one) all together weigh no more than `budget`. `absent` stands for an entry that does not exist, so that this
        is remembered, too.
        """
        ...


# --- the whole barrier, for the appliance itself -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A sealed body with columns to search by: tokens and leases, which must expire without a scan.

    The columns are not secret and not trusted: they are authenticated together with the body.
    """

    record_id: str
    body: bytes
    expires_at: int | None = None  # epoch seconds
    parent: str = ""  # record_id of what takes this one with it
    alias: str = ""  # a second unique name: a token's accessor
    path: str = ""  # where it alone stands in a tree, for searches by prefix: "root/database/creds/orders-api/x7Kq…"
    revision: int = 0


class RecordReader(Protocol):
    """Reads of records; `kind` is "token" or "lease"."""

    async def get_record(self, kind: str, record_id: str) -> Record | None:
        """The record, authenticated with its columns. Raises IntegrityError."""
        ...

    async def record_by_alias(self, kind: str, alias: str) -> Record | None:
        """The record of that alias."""
        ...

    async def child_records(self, kind: str, parent: str, *, after: str = "", limit: int = 0) -> list[Record]:
        """Records with that parent, by record_id, behind `after`. `limit` 0 means all."""
        ...

    async def records_below(self, kind: str, prefix: str, *, after: str = "", limit: int = 0) -> list[Record]:
        """Records whose path starts with `prefix`, by path, behind the path `after`; served by an index."""
        ...

    async def record_names(self, kind: str, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """As `list` of entries, over the paths of records: names below `prefix`; a folder ends in "/"."""
        ...

    async def count_records(self, kind: str, prefix: str = "") -> int:
        """How many records have a path that starts with `prefix`; with "" all of the kind."""
        ...

    async def expired_records(self, kind: str, *, before: int, limit: int) -> list[Record]:
        """Records with expires_at <= before, the oldest first; served by an index."""
        ...

    async def list_records(self, kind: str, *, after: str = "", limit: int = 0) -> list[Record]:
        """Records by record_id."""
        ...


class StoredEvent(msgspec.Struct, frozen=True):
    """An event of the log. Numbers grow with the order of the commits, and may have gaps."""

    number: int
    body: bytes


class CoreTransaction(Transaction, RecordReader, Protocol):
    """A transaction over entries and records."""

    async def put_record(self, kind: str, record: Record, *, cas: int | None = None) -> int:
        """Write (record.revision is ignored; `cas` as in `put`). Raises CasMismatchError.

        Also for an alias or a path that another record of the kind has.
        """
        ...

    async def delete_record(self, kind: str, record_id: str) -> bool:
        """Remove it; whether there was one."""
        ...

    async def delete_records(self, kind: str, record_ids: Sequence[str]) -> int:
        """Remove those that exist, in few statements; how many there were."""
        ...

    async def has(self, path: str) -> bool:
        """Whether there is such an entry, without opening it."""
        ...

    async def append_event(self, body: bytes) -> None:
        """Add to the log of events, behind all that were committed before."""
        ...

    async def drop_events(self, *, before: int) -> int:
        """Remove those with a lower number; how many."""
        ...

    async def sweep_catalogs(self, *, limit: int) -> bool:
        """Remove about so many rows of catalogs whose mount is gone; whether there may be more."""
        ...


class CoreStorage(StorageView, RecordReader, Protocol):
    """The whole barrier. `transact` gives a CoreTransaction."""

    async def transact(self, body: Callable[[CoreTransaction], Awaitable[T]]) -> T:
        """As StorageView.transact, over entries and records."""
        ...

    def view(self, prefix: str) -> StorageView:
        """The part below `prefix` ("logical/<mount uuid>/"); what an engine gets."""
        ...

    async def events_after(self, number: int, *, limit: int) -> list[StoredEvent]:
        """Committed events behind that number, in their order; one that is still being committed holds up later ones.

        So whoever has read up to a number never misses an event below it. The body of one that does not open is empty.
        """
        ...

    async def event_bounds(self) -> tuple[int, int]:
        """From which number on nothing was removed, and the newest that can be read; (0, 0) when there never was one.

        Who has seen all up to a number below the first one minus 1 may have missed some.
        """
        ...

    async def nth_newest_event(self, count: int) -> int:
        """The number of the event that `count` others are newer than; 0 when there are not so many."""
        ...

    @property
    def events_heard(self) -> int:
        """Changes when this process has learned that there are new events; other nodes' commits do not change it."""
        ...

    def record_cache(self, kind: str, decode: Callable[[Record], T], *, capacity: int = 10_000) -> DecodedCache[T]:
        """Decoded records in memory, by record_id."""
        ...
