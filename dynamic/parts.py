"""What the routes of one mount stand on."""

from dataclasses import dataclass

from core.clock import Clock
from core.engine import Deposits, EngineContext, LeaseBook, Meter, MountInfo, Passwords
from core.errors import InvalidRequestError, NotFoundError
from dynamic.credentials import Credentials
from dynamic.intents import Intents
from dynamic.open_targets import OpenTargets
from dynamic.reconcile import Reconciler
from dynamic.root_rotation import RootRotation
from dynamic.static_keeper import StaticKeeper
from dynamic.static_rotation import StaticRotation
from dynamic.store import DynamicStore
from dynamic.usernames import Usernames


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One worker's view of one mount."""

    mount: MountInfo
    clock: Clock
    meter: Meter
    passwords: Passwords
    leases: LeaseBook
    deposits: Deposits
    store: DynamicStore
    targets: OpenTargets
    intents: Intents
    usernames: Usernames
    credentials: Credentials
    root_rotation: RootRotation
    static_rotation: StaticRotation
    static_keeper: StaticKeeper
    reconciler: Reconciler

    async def check_password_policy(self, name: str) -> None:
        """Raise InvalidRequestError unless there is such a policy."""
        try:
            await self.passwords.generate(name)
        except NotFoundError:
            raise InvalidRequestError(f"there is no password policy {name[:128]!r} (sys/policies/password)") from None


def assemble(context: EngineContext) -> Parts:
    """Does no I/O."""
    store = DynamicStore(context.storage)
    targets = OpenTargets(store)
    intents = Intents(store, targets, context.clock)
    usernames = Usernames(context.storage)
    static_rotation = StaticRotation(
        store, targets, passwords=context.passwords, deposits=context.deposits, clock=context.clock
    )
    return Parts(
        mount=context.mount,
        clock=context.clock,
        meter=context.meter,
        passwords=context.passwords,
        leases=context.leases,
        deposits=context.deposits,
        store=store,
        targets=targets,
        intents=intents,
        usernames=usernames,
        credentials=Credentials(
            store,
            targets,
            intents,
            usernames,
            passwords=context.passwords,
            clock=context.clock,
            mount=context.mount,
        ),
        root_rotation=RootRotation(store, targets, passwords=context.passwords, clock=context.clock),
        static_rotation=static_rotation,
        static_keeper=StaticKeeper(store, targets, static_rotation, context.clock),
        reconciler=Reconciler(store, targets, usernames, leases=context.leases, clock=context.clock),
    )
