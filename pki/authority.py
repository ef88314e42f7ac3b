"""What a mount's certification authority is: keys, issuers, which of them are the defaults, and what holds for all.

A mount has few of these and every request needs some, so all of them are in memory together, as one `Authority`.
"""

from collections.abc import Mapping
from functools import cached_property

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import InvalidRequestError, NotFoundError
from core.protocols import WrappedKey

DEFAULT = "default"  # the reference to the default issuer or key
USAGES = ("read-only", "issuing-certificates", "crl-signing", "ocsp-signing")


class CaKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that issuers sign with."""

    key_id: str
    name: str = ""
    key: WrappedKey
    created_at: int = 0  # epoch seconds


class Urls(msgspec.Struct, frozen=True, kw_only=True):
    """What certificates say about where to find more (RFC 5280, 4.2.2.1 and 4.2.1.13)."""

    issuing_certificates: tuple[str, ...] = ()
    crl_distribution_points: tuple[str, ...] = ()
    delta_crl_distribution_points: tuple[str, ...] = ()
    ocsp_servers: tuple[str, ...] = ()
    enable_templating: bool = False  # {{issuer_id}}, {{cluster_path}}, {{cluster_aia_path}}

    @property
    def is_empty(self) -> bool:
        """Whether there is not one of them: then those of the mount hold."""
        return not (self.issuing_certificates or self.crl_distribution_points or self.ocsp_servers)


class IssuerRow(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer as it is stored: a CA certificate, maybe with its key, and how it is used."""

    issuer_id: str
    name: str = ""
    key_id: str = ""  # "": the key is not here, so it only stands in chains
    certificate: bytes  # DER
    manual_chain: tuple[str, ...] = ()  # issuer ids
    leaf_not_after_behavior: str = "err"  # err, truncate, permit, always_enforce_err
    usage: tuple[str, ...] = USAGES
    revocation_signature_algorithm: str = ""
    urls: Urls = Urls()
    revoked_at: int = 0  # epoch seconds; 0: it is not
    disable_critical_extension_checks: bool = False
    disable_path_length_checks: bool = False
    disable_name_constraint_checks: bool = False
    created_at: int = 0  # epoch seconds


class CrlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`config/crl`; durations in seconds."""

    expiry: int = 72 * 3600
    disable: bool = False
    ocsp_disable: bool = False
    ocsp_expiry: int = 12 * 3600
    ocsp_delegated: bool = False  # Mimir's own: a responder with a key of its own signs OCSP answers
    auto_rebuild: bool = False
    auto_rebuild_grace_period: int = 12 * 3600
    enable_delta: bool = False
    delta_rebuild_interval: int = 15 * 60


class TidySettings(msgspec.Struct, frozen=True, kw_only=True):
    """`config/auto-tidy`; durations in seconds."""

    enabled: bool = False
    interval_duration: int = 12 * 3600
    tidy_cert_store: bool = False
    tidy_revoked_certs: bool = False
    tidy_revoked_cert_issuer_associations: bool = False
    tidy_expired_issuers: bool = False
    tidy_move_legacy_ca_bundle: bool = False
    tidy_acme: bool = False
    tidy_invalid_certs: bool = False
    safety_buffer: int = 72 * 3600
    issuer_safety_buffer: int = 365 * 24 * 3600
    acme_account_safety_buffer: int = 30 * 24 * 3600
    revoked_safety_buffer: int = 0  # 0: safety_buffer
    pause_duration: int = 0
    page_size: int = 1000
    maintain_stored_certificate_counts: bool = False
    publish_stored_certificate_count_metrics: bool = False


class ClusterPaths(msgspec.Struct, frozen=True, kw_only=True):
    """`config/cluster`: where this mount is reached from outside."""

    path: str = ""
    aia_path: str = ""


class CaIndex(msgspec.Struct, frozen=True, kw_only=True):
    """The row on which everything else of the authority hangs; written again with every change of it."""

    issuers: tuple[str, ...] = ()  # ids, in the order they were made
    keys: tuple[str, ...] = ()
    default_issuer: str = ""
    default_key: str = ""
    default_follows_latest_issuer: bool = False
    urls: Urls = Urls()
    crl: CrlSettings = CrlSettings()
    tidy: TidySettings = TidySettings()
    cluster: ClusterPaths = ClusterPaths()
    # issuers that were deleted, by id, and the name and key that they had (pki.crl_scope): what they issued is still
    # revoked, and other issuers may have both
    former: dict[str, str] = {}
    # when issuers that were deleted had been revoked, by SHA-256 of the certificate (hex): whoever brings one back
    # brings it back revoked, also a root, which stands on no CRL
    former_revoked: dict[str, int] = {}


class Issuer:
    """An issuer in memory, with what is made of its certificate once."""

    def __init__(self, row: IssuerRow, key: CaKey | None) -> None:
        self.row = row
        self.key = key

    @cached_property
    def certificate(self) -> x509.Certificate:
        """Its certificate."""
        return x509.load_der_x509_certificate(self.row.certificate)

    @cached_property
    def pem(self) -> str:
        """Its certificate as PEM, without a line break at the end, as Vault answers it."""
        return self.certificate.public_bytes(Encoding.PEM).decode().rstrip("\n")

    @cached_property
    def subject(self) -> x509.Name:
        """Its name, which stands in what it issues."""
        return self.certificate.subject

    @cached_property
    def is_self_signed(self) -> bool:
        """Whether it is a root: its issuer is its own name and, where the certificate says so, its own key."""
        if self.certificate.issuer != self.subject:
            return False
        try:
            named = self.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        except x509.ExtensionNotFound:
            return True
        own = self.authority_key_identifier.key_identifier
        return named.key_identifier is None or named.key_identifier == own

    @cached_property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo, DER: the same for all issuers of one key."""
        return self.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @cached_property
    def not_before(self) -> int:
        """Epoch seconds."""
        return int(self.certificate.not_valid_before_utc.timestamp())

    @cached_property
    def not_after(self) -> int:
        """Epoch seconds."""
        return int(self.certificate.not_valid_after_utc.timestamp())

    @cached_property
    def authority_key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """What its certificates say about its key: its own subject key identifier (RFC 5280, 4.2.1.1)."""
        try:
            found = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.certificate.public_key())  # type: ignore[arg-type]
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)

    @cached_property
    def can_sign_crls(self) -> bool:
        """Whether its certificate allows that; one without key usages allows everything (RFC 5280, 4.2.1.3)."""
        try:
            return self.certificate.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
        except x509.ExtensionNotFound:
            return True

    @cached_property
    def path_length(self) -> int | None:
        """How many CAs may stand below it (RFC 5280, 4.2.1.9); None: any number."""
        try:
            return self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        except x509.ExtensionNotFound:
            return None

    @cached_property
    def name_constraints(self) -> x509.NameConstraints | None:
        """Which names may stand in what it issues (RFC 5280, 4.2.1.10); None: all."""
        try:
            return self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            return None

    @cached_property
    def unknown_critical(self) -> str:
        """The OID of a critical extension of its certificate that nobody here understands; "" when there is none."""
        for extension in self.certificate.extensions:
            if extension.critical and isinstance(extension.value, x509.UnrecognizedExtension):
                return str(extension.oid.dotted_string)
        return ""

    @cached_property
    def key_algorithm(self) -> str:
        """The OID of its key's algorithm."""
        found: str = self.certificate.public_key_algorithm_oid.dotted_string
        return found

    @property
    def issuer_id(self) -> str:
        """Its id."""
        return self.row.issuer_id

    def may(self, usage: str) -> bool:
        """Whether it may be used for one of USAGES."""
        return usage in self.row.usage


class Authority:
    """Everything in the state of one moment."""

    def __init__(self, index: CaIndex, issuers: Mapping[str, Issuer], keys: Mapping[str, CaKey]) -> None:
        self.index = index
        self.issuers = issuers
        self.keys = keys
        self.chains: dict[str, list[Issuer]] = {}  # filled by pki.chains, by issuer id
        self.constrained_above: dict[str, tuple[Issuer, ...]] = {}  # filled by pki.chains, by issuer id
        self.parents: dict[str, tuple[Issuer, ...]] = {}  # likewise
        self._issuers_by_name = {issuer.row.name: issuer for issuer in issuers.values() if issuer.row.name}
        self._keys_by_name = {key.name: key for key in keys.values() if key.name}

    def issuer(self, reference: str) -> Issuer:
        """By id, by name, or "default". Raises NotFoundError (Vault has 500 there, which helps nobody)."""
        if reference.lower() == DEFAULT:
            if not self.index.default_issuer:
                raise InvalidRequestError("there is no default issuer: make or import one, or write config/issuers")
            reference = self.index.default_issuer
        found = self.issuers.get(reference) or self._issuers_by_name.get(reference)
        if found is None:
            raise NotFoundError(f"there is no issuer {reference[:64]!r}")
        return found

    def key(self, reference: str) -> CaKey:
        """By id, by name, or "default". Raises NotFoundError."""
        if reference.lower() == DEFAULT:
            if not self.index.default_key:
                raise InvalidRequestError("there is no default key: make or import one, or write config/keys")
            reference = self.index.default_key
        found = self.keys.get(reference) or self._keys_by_name.get(reference)
        if found is None:
            raise NotFoundError(f"there is no key {reference[:64]!r}")
        return found

    def issuer_named(self, name: str) -> Issuer | None:
        """The one of that name, if there is one."""
        return self._issuers_by_name.get(name)

    def key_named(self, name: str) -> CaKey | None:
        """The one of that name, if there is one."""
        return self._keys_by_name.get(name)
