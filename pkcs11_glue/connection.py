"""An opened token: from C_Initialize to a proven KEK. Everything in it dies with the module's epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from core.errors import HsmConfigError, HsmError
from core.protocols import Custody, KeyKind, KeyUsage
from pkcs11_glue import probe, self_tests
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.errors import Verdict, hsm_error, verdict
from pkcs11_glue.escrow import EscrowKey, find_escrow
from pkcs11_glue.kek import LABEL_PREFIX, Kek, check_hardened, find_keks
from pkcs11_glue.login import ATTEMPTS, Login, log_in, without_logins
from pkcs11_glue.module import Module
from pkcs11_glue.operations import Operations
from pkcs11_glue.probe import MechanismStatus
from pkcs11_glue.rsa_decryption import OaepMethod
from pkcs11_glue.self_tests import Pair
from pkcs11_glue.session import HsmSession
from pkcs11_glue.settings import HsmSettings

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Connection:
    """A logged-in token with what was found and proven in it."""

    login: Login
    login_lock: Path
    library: str
    operations: Operations  # the event loop's own session
    keks: dict[str, Kek]  # by kek_id; the newest last
    escrow: EscrowKey | None
    probe_key: int
    known_answer: bytes
    proven: frozenset[Pair]
    oaep: dict[str, OaepMethod]  # by hash
    mechanisms: list[MechanismStatus]
    latency_us: float
    thread_hop_us: float

    @property
    def active_kek(self) -> Kek:
        """The one that new keys are wrapped under."""
        return next(reversed(self.keks.values()))

    def kek(self, kek_id: str) -> Kek:
        """The KEK of that id. Raises HsmConfigError that names it and those present."""
        found = self.keks.get(kek_id)
        if found is None:
            present = ", ".join(self.keks)
            raise HsmConfigError(
                f"the KEK {kek_id} is not in the HSM token {self.login.token.label!r}, which holds {present}:"
                " this is the token of another cluster, or its KEK was removed"
            )
        return found

    def custody_of(self, kind: KeyKind, usage: KeyUsage) -> Custody:
        """Where a key of this kind and usage lives on this token: in it, if a self-test saw that work."""
        return Custody.HSM if (kind, usage) in self.proven else Custody.SEALED

    def prepare(self, operations: Operations) -> None:
        """Give another session the health check's key."""
        operations.set_probe(self.probe_key, self.known_answer)

    def refresh_escrow(self) -> EscrowKey | None:
        """The escrow key; looked for again while there is none, since another process may have claimed it."""
        if self.escrow is None:
            self.escrow = find_escrow(self.operations.session)
        return self.escrow

    def call(self, operations: Operations, method: Callable[..., T], *arguments: object) -> T:
        """`method(operations, *arguments)`; once more after an unclear fault that passes. Raises CryptokiError.

        SoftHSM answers CKR_GENERAL_ERROR to everybody while another process's C_Login rewrites the token's file. A
        call that failed has done nothing: what it had made it took back.
        """
        try:
            return method(operations, *arguments)
        except CryptokiError as exc:
            if verdict(exc.code) is not Verdict.UNCLEAR:
                raise
            with without_logins(self.login_lock):
                if not operations.is_healthy():
                    raise
                return method(operations, *arguments)

    def check_alive(self) -> None:
        """Raises CryptokiError when the token is not what was opened.

        SoftHSM goes on with cached keys when its directory is gone, so working keys prove nothing: the token is asked.
        """
        info = self.login.module.token_info(self.login.token.slot)
        if info is None or info.serial != self.login.token.serial:
            raise CryptokiError("C_GetTokenInfo", 0xE0)  # CKR_TOKEN_NOT_PRESENT: another token, or none, is in the slot


def connect(module: Module, settings: HsmSettings, *, attempts: int = ATTEMPTS) -> Connection:
    """Open the token (blocking). On failure the module is left uninitialised, and an HsmError says what to mend."""
    login = log_in(module, settings, attempts=attempts)
    try:
        return _examine(login, settings)
    except CryptokiError as exc:
        module.finalize()
        raise hsm_error(exc) from exc
    except BaseException:
        module.finalize()
        raise


def _examine(login: Login, settings: HsmSettings) -> Connection:
    module = login.module
    session = HsmSession(module.functions, module.open_session(login.token.slot))
    operations = Operations(module.functions, session)
    probe_key, known_answer = probe.set_up_probe(operations)
    operations.set_probe(probe_key, known_answer)
    if not operations.is_healthy():
        raise HsmConfigError("the HSM's AES-GCM does not give the published result; Mimir cannot work with this module")
    keks = _proven_keks(session, login)
    proof = self_tests.prove(operations, keks[-1])
    return Connection(
        login=login,
        login_lock=settings.login_lock,
        library=module.library_text(),
        operations=operations,
        keks={kek.kek_id: kek for kek in keks},
        escrow=find_escrow(session),
        probe_key=probe_key,
        known_answer=known_answer,
        proven=proof.pairs,
        oaep=proof.oaep,
        mechanisms=probe.mechanism_statuses(module.mechanisms(login.token.slot), proof),
        latency_us=probe.measure_latency(operations),
        thread_hop_us=probe.measure_thread_hop(),
    )


def _proven_keks(session: HsmSession, login: Login) -> list[Kek]:
    keks = find_keks(session)
    if not keks:
        raise HsmConfigError(
            f"the HSM token {login.token.label!r} holds no KEK (a secret key with a label like {LABEL_PREFIX}1);"
            " provision it with softhsm/provision, or as docs/hsm-setup.md says for your HSM"
        )
    for kek in keks:
        check_hardened(session, kek)
    return keks


def translate(operations: Operations, error: CryptokiError) -> HsmError:
    """What the caller gets; an ambiguous code is settled by a known-answer test on the same session."""
    healthy = operations.is_healthy() if verdict(error.code) is Verdict.UNCLEAR else None
    return hsm_error(error, healthy=healthy)
