"""OpenBao's own command, and its agent, work at our server as at its own: the same commands at both, compared.

Compared is what a script sees: the exit code, the HTTP status of a refusal, and the members of the JSON answer.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.clients.bao import Answer, Bao, missing

pytestmark = pytest.mark.heavy  # needs another server's program, and a process for each command

# `NAME = path.in.answer < command` keeps what later lines name {NAME}; a line that begins with `as NAME` uses the token
TOKENS = """
token lookup
token create -policy=default -ttl=1h -orphan -metadata=a=b -display-name=joe -use-limit=9
T = auth.client_token < token create -policy=default -ttl=1h
A = data.accessor < token lookup {T}
token lookup -accessor {A}
token renew {T}
token renew -accessor {A}
token capabilities {T} sys/mounts
token capabilities -accessor {A} sys/mounts
as T token lookup
as T token renew
as T secrets list
as T token create
token revoke {T}
token lookup {T}
token lookup -accessor {A}
token revoke {T}
as T token lookup
B = auth.client_token < token create -type=batch -policy=default -ttl=1h
token lookup {B}
token revoke {B}
as B token revoke -self
token create -type=strange
write auth/token/roles/app allowed_policies=default orphan=true period=1h
read auth/token/roles/app
list auth/token/roles
token create -role=app
token create -role=app -policy=other
delete auth/token/roles/app
read auth/token/roles/app
O = auth.client_token < token create -policy=default -period=1h
token revoke -mode=orphan {O}
token revoke -mode=path auth/userpass/login
"""

POLICIES = """
policy write app app.hcl
policy read app
policy list
policy read none
policy write bad bad.hcl
policy write root app.hcl
policy fmt app.hcl
read sys/policies/acl/app
list sys/policies/acl
policy delete app
policy delete app
"""

MOUNTS = """
auth enable -path=people -description=hello -default-lease-ttl=1h -max-lease-ttl=2h userpass
auth enable -path=people userpass
auth list
auth tune -description=other people
auth tune -user-lockout-threshold=3 -user-lockout-duration=1m people
auth tune -token-type=batch -listing-visibility=unauth people
auth tune -max-lease-ttl=1m people
auth tune none
read sys/auth/people
read sys/auth/people/tune
read sys/mounts/auth/people/tune
auth move auth/people auth/folk
auth help folk
auth disable folk
auth disable folk
auth disable token
secrets enable -path=here -default-lease-ttl=1h -max-lease-ttl=2h transit
secrets enable -path=here transit
secrets enable -path=short -max-lease-ttl=1h transit
secrets enable -path=sys/x transit
secrets list
secrets tune -description=other here
read sys/mounts/here/tune
secrets move here there
secrets move here there
read sys/mounts/there
read sys/internal/ui/mounts/there/x
read sys/internal/ui/mounts/none/x
secrets disable there
secrets disable there
"""

WRAPPING = """
W = wrap_info.token < token create -policy=default -wrap-ttl=60s
write sys/wrapping/lookup token={W}
as W read sys/wrapping/lookup
unwrap {W}
unwrap {W}
V = wrap_info.token < write sys/wrapping/wrap a=b c=d
U = wrap_info.token < write sys/wrapping/rewrap token={V}
unwrap {V}
as U unwrap
as U unwrap
X = wrap_info.token < token create -policy=default -wrap-ttl=60s
login -no-store {X}
as X login -no-store -token-only
write cubbyhole/a k=v
read cubbyhole/a
list cubbyhole
delete cubbyhole/a
read cubbyhole/a
list cubbyhole
lease lookup none/x
lease renew none/x
lease revoke none/x
lease revoke -prefix none
"""

LOGINS = """
auth enable userpass
write auth/userpass/users/joe password=pw policies=app token_ttl=1h
read auth/userpass/users/joe
login -no-store -method=userpass username=joe password=pw
login -no-store -method=userpass username=joe password=bad
login -no-store -method=userpass username=none password=bad
login -no-store -method=userpass -path=none username=joe password=pw
J = auth.client_token < login -no-store -method=userpass username=joe password=pw
as J token lookup
as J token renew
as J token revoke -self
delete auth/userpass/users/joe
auth enable approle
write auth/approle/role/web token_policies=app secret_id_ttl=10m token_ttl=20m token_max_ttl=30m secret_id_num_uses=40
read auth/approle/role/web
R = data.role_id < read auth/approle/role/web/role-id
S = data.secret_id < write -f auth/approle/role/web/secret-id
write auth/approle/role/web/secret-id/lookup secret_id={S}
C = data.secret_id_accessor < write -f auth/approle/role/web/secret-id
write auth/approle/role/web/secret-id-accessor/lookup secret_id_accessor={C}
list auth/approle/role/web/secret-id
login -no-store -method=approle role_id={R} secret_id={S}
write auth/approle/login role_id={R} secret_id={S}
write auth/approle/login role_id={R} secret_id=none
write auth/approle/role/web/secret-id-accessor/destroy secret_id_accessor={C}
write auth/approle/role/web/secret-id/destroy secret_id={S}
write -f -wrap-ttl=60s auth/approle/role/web/secret-id
read auth/approle/role/web
"""

IDENTITY = """
auth enable -path=staff userpass
M = data.accessor < read sys/auth/staff
E = data.id < write identity/entity name=joe policies=app metadata=team=a
F = data.id < write identity/entity name=ann
read identity/entity/id/{E}
read identity/entity/name/joe
L = data.id < write identity/entity-alias name=joe canonical_id={E} mount_accessor={M}
read identity/entity-alias/id/{L}
write identity/entity-alias name=x canonical_id={E} mount_accessor=none
list identity/entity/id
list identity/entity/name
write identity/lookup/entity name=joe
write identity/lookup/entity name=nobody
G = data.id < write identity/group name=g member_entity_ids={E} policies=p
read identity/group/id/{G}
H = data.id < write identity/group name=h type=external
write identity/group name=h type=internal
K = data.id < write identity/group-alias name=k canonical_id={H} mount_accessor={M}
read identity/group/name/h
list identity/group/id
write identity/lookup/group name=g
write identity/entity/merge from_entity_ids={F} to_entity_id={E}
read identity/entity/id/{F}
delete identity/group-alias/id/{K}
delete identity/group/id/{H}
delete identity/entity/id/{E}
read identity/entity/id/{E}
"""

NAMESPACES = """
namespace list
namespace create -custom-metadata=a=b -custom-metadata=c=d team
namespace create -namespace=team sub
namespace create sys
namespace list
namespace lookup team
namespace lookup none
namespace patch -custom-metadata=a=z -remove-custom-metadata=c team
list -namespace=team sys/namespaces
secrets enable -namespace=team transit
secrets list -namespace=team
auth list -namespace=team
N = auth.client_token < token create -namespace=team -policy=default
as N token lookup -namespace=team
read team/sys/mounts/transit
read -namespace=none sys/mounts
auth enable -namespace=team/sub approle
write -namespace=team/sub auth/approle/role/web token_policies=app
Q = data.role_id < read -namespace=team/sub auth/approle/role/web/role-id
Z = wrap_info.token < write -namespace=team/sub -f -wrap-ttl=60s auth/approle/role/web/secret-id
Y = data.secret_id < unwrap -namespace=team/sub {Z}
login -namespace=team/sub -no-store -method=approle role_id={Q} secret_id={Y}
write team/sub/auth/approle/login role_id={Q} secret_id={Y}
write auth/approle/login role_id={Q} secret_id={Y}
namespace delete team
namespace delete -namespace=team sub
namespace delete team
"""

OPERATING = """
operator key-status
operator rotate
plugin info secret transit
plugin info auth none
audit list
audit disable none
read sys/config/cors
write sys/config/cors allowed_origins=https://a.example
write sys/config/auditing/request-headers/X-Foo hmac=true
read sys/config/auditing/request-headers/X-Foo
write sys/quotas/rate-limit/g rate=100000
read sys/quotas/rate-limit/g
list sys/version-history
write sys/tools/hash input=YQ==
path-help none
read sys/health
read sys/seal-status
read sys/none
write sys/none a=b
read none/x
operator generate-root -status
operator generate-root -init
operator generate-root -init
operator generate-root -cancel
operator rotate-keys -status
operator rotate-keys -init -key-shares=1 -key-threshold=1
operator rotate-keys -cancel
operator rekey -backup-retrieve
operator init
operator init -status
"""

# aes.key and ec.key are base64 of key material, as the command wants it
TRANSIT = """
secrets enable transit
write -f transit/keys/a
write transit/keys/sealed exportable=true allow_plaintext_backup=true
write transit/keys/strange type=strange
read transit/keys/a
read transit/keys/none
list transit/keys
list none/keys
write -f transit/keys/a/rotate
write transit/keys/a/config min_decryption_version=1 deletion_allowed=true
C = data.ciphertext < write transit/encrypt/a plaintext=aGVsbG8=
write transit/decrypt/a ciphertext={C}
write transit/rewrap/a ciphertext={C}
write transit/encrypt/a plaintext=!!
write transit/decrypt/a ciphertext=none
write transit/encrypt/upserted plaintext=aGVsbG8=
write -f transit/datakey/plaintext/a
write -f transit/random/32
write transit/hash/sha2-512 input=aGVsbG8=
H = data.hmac < write transit/hmac/a/sha2-384 input=aGVsbG8=
write transit/verify/a/sha2-384 input=aGVsbG8= hmac={H}
write transit/keys/ec type=ecdsa-p256
S = data.signature < write transit/sign/ec input=aGVsbG8= marshaling_algorithm=jws
write transit/verify/ec input=aGVsbG8= marshaling_algorithm=jws signature={S}
write -f transit/keys/ec/csr
read transit/export/encryption-key/sealed
read transit/export/encryption-key/sealed/latest
read transit/export/encryption-key/a
B = data.backup < read transit/backup/sealed
write transit/restore/copy backup={B}
read transit/keys/copy
read transit/backup/none
read transit/wrapping_key
transit import transit/keys/aes @aes.key type=aes256-gcm96
transit import transit/keys/aes @aes.key type=aes256-gcm96
transit import transit/keys/ecdsa @ec.key type=ecdsa-p256 exportable=true
transit import transit/keys/wrong @aes.key type=ecdsa-p256
transit import transit/keys/none @none.key
transit import transit/none @aes.key
transit import none/keys/x @aes.key type=aes256-gcm96
transit import-version transit/keys/aes @aes.key
transit import-version transit/keys/none @aes.key
transit import-version transit/keys/a @aes.key
transit import-version transit/keys/ecdsa @aes.key
read transit/keys/aes
D = data.ciphertext < write transit/encrypt/aes plaintext=aGVsbG8=
write transit/decrypt/aes ciphertext={D}
write -f transit/keys/aes/rotate
S = data.signature < write transit/sign/ecdsa input=aGVsbG8=
write transit/verify/ecdsa input=aGVsbG8= signature={S}
read transit/export/public-key/ecdsa
read transit/config/keys
write transit/config/keys disable_upsert=true
write transit/cache-config size=100
read transit/cache-config
delete transit/keys/a/soft-delete
write transit/encrypt/a plaintext=aGVsbG8=
write -f transit/keys/a/soft-delete-restore
delete transit/keys/a
delete transit/keys/a
delete transit/keys/sealed
"""


AGENT = """
exit_after_auth = true
auto_auth {{
  method "approle" {{
    mount_path = "auth/{mount}"
    config = {{
      role_id_file_path = "role"
      secret_id_file_path = "secret"
      {wrapping}
    }}
  }}
  sink "file" {{
    config = {{ path = "token" }}
  }}
}}
"""


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(TOKENS, id="tokens"),
        pytest.param(POLICIES, id="policies"),
        pytest.param(MOUNTS, id="mounts"),
        pytest.param(WRAPPING, id="wrapping"),
        pytest.param(LOGINS, id="logins"),
        pytest.param(IDENTITY, id="identity"),
        pytest.param(NAMESPACES, id="namespaces"),
        pytest.param(OPERATING, id="operating"),
        pytest.param(TRANSIT, id="transit"),
    ],
)
def test_scripts_see_no_difference(ours: Bao, theirs: Bao, script: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for bao in (ours, theirs):
        (bao.directory / "aes.key").write_bytes(base64.b64encode(bytes(range(32))))
        (bao.directory / "ec.key").write_bytes(base64.b64encode(pkcs8))
        (bao.directory / "app.hcl").write_text('path "secret/*" { capabilities = ["read"] }\n')
        (bao.directory / "bad.hcl").write_text('path "secret/*" { capabilities = ["fly"] }\n')
    faults: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        for line in script.strip().splitlines():
            faults += differences(*pool.map(step, (theirs, ours), (line, line)))
    assert not faults, "\n".join(faults)


def step(bao: Bao, line: str) -> Answer:
    """Run one line of a script."""
    keep, _, command = line.rpartition(" < ")
    user, _, rest = command.partition(" ")
    answer = bao.run(command) if user != "as" else bao.run(rest.split(" ", 1)[1], token=bao.kept[rest.split(" ", 1)[0]])
    if keep:
        name, _, path = keep.partition(" = ")
        bao.kept[name] = str(member(answer.json, path.split(".")))
    return answer


def member(value: object, path: Iterable[str]) -> object:
    for name in path:
        assert isinstance(value, dict)
        value = value[name]
    return value


def differences(theirs: Answer, ours: Answer) -> list[str]:
    if (theirs.code, theirs.status) != (ours.code, ours.status) and not is_rightly_refused(theirs, ours):
        ends = [f"exit {answer.code} {answer.status} {answer.err.strip()[-300:]}" for answer in (theirs, ours)]
        return [f"{ours.line}: {ends[1]}; theirs: {ends[0]}"]
    return [f"{ours.line}: {fault}" for fault in missing(theirs.shape, ours.shape)]


def is_rightly_refused(theirs: Answer, ours: Answer) -> bool:
    """OpenBao calls some of its callers' mistakes its own (500), which makes clients try again."""
    return theirs.code == ours.code and theirs.status == "500" and ours.status in {"400", "404"}


# --- what a comparison cannot show --------------------------------------------------------------------------------


def test_tables_are_readable(ours: Bao) -> None:
    shown = ours.must("token lookup", form="table").out
    assert "policies            [root]" in shown.splitlines()


def test_status_says_unsealed_by_its_exit_code(ours: Bao) -> None:
    status = ours.must("status")
    assert status.json["sealed"] is False
    assert status.json["recovery_seal"] is True


@pytest.mark.parametrize(
    ("path", "said"),
    [("sys/mounts", "read    The mounted engines."), ("auth/token", "auth/token/lookup-self"), ("identity", "entity")],
)
def test_paths_have_help(ours: Bao, path: str, said: str) -> None:
    assert said in ours.must(f"path-help {path}", form="table").out


@pytest.mark.parametrize("token", ["hvs.aaaaaaaaaaaaaaaaaaaaaaaa", "none"])
def test_who_may_do_nothing_is_told_so(ours: Bao, token: str) -> None:
    answer = ours.run("secrets list", token=token)
    assert (answer.code, answer.status) == (2, "403")
    assert "permission denied" in answer.err


def test_a_root_token_from_recovery_keys(ours: Bao) -> None:
    begun = ours.must("operator generate-root -init").json
    for share in ours.recovery_keys[: begun["required"]]:
        last = ours.must(f"operator generate-root -nonce={begun['nonce']} {share}").json
    assert last["complete"] is True
    decoded = ours.must(f"operator generate-root -decode={last['encoded_token']} -otp={begun['otp']}").json["token"]
    assert ours.must("token lookup", token=decoded).json["data"]["policies"] == ["root"]
    veiled = base64.b64decode(last["encoded_token"] + "==")
    assert bytes(a ^ b for a, b in zip(veiled, begun["otp"].encode(), strict=True)).decode() == decoded
    ours.must(f"token revoke {decoded}")


@pytest.mark.parametrize("command", ["rekey", "rotate-keys"])
def test_new_recovery_keys(ours: Bao, command: str) -> None:
    begun = ours.must(f"operator {command} -target=recovery -init -key-shares=3 -key-threshold=2").json
    assert (begun["n"], begun["t"]) == (3, 2)
    for share in ours.recovery_keys[: begun["required"]]:
        last = ours.must(f"operator {command} -target=recovery -nonce={begun['nonce']} {share}").json
    assert len(last["keys"]) == 3
    ours.recovery_keys[:] = last["keys"]


@pytest.mark.parametrize("command", ["rekey", "rekey -target=recovery", "rotate-keys -target=recovery"])
def test_who_may_cancel_needs_no_nonce(ours: Bao, command: str) -> None:
    """The command never sends one."""
    ours.must(f"operator {command} -init -key-shares=3 -key-threshold=2")
    powerless = ours.must("token create -policy=default").json["auth"]["client_token"]
    assert ours.run(f"operator {command} -cancel", token=powerless).code == 2
    assert ours.must(f"operator {command} -status").json["started"] is True
    ours.must(f"operator {command} -cancel", form="table")
    assert ours.must(f"operator {command} -status").json["started"] is False


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["plain", "wrapped"])
def test_the_agent_logs_in_by_approle(ours: Bao, is_wrapped: bool) -> None:
    """Auto-auth with a secret id from a file, as deployments hand it over: as it is, or wrapped."""
    mount = f"agents-{is_wrapped}".lower()
    ours.must(f"auth enable -path={mount} approle", form="table")
    ours.must(f"write auth/{mount}/role/web token_policies=default", form="table")
    made = f"auth/{mount}/role/web/secret-id"
    secret = ours.must(f"write -f {'-wrap-ttl=60s ' if is_wrapped else ''}{made}").json
    (ours.directory / "role").write_text(ours.must(f"read auth/{mount}/role/web/role-id").json["data"]["role_id"])
    (ours.directory / "secret").write_text(secret["wrap_info"]["token"] if is_wrapped else secret["data"]["secret_id"])
    wrapping = f'secret_id_response_wrapping_path = "{made}"' if is_wrapped else ""
    (ours.directory / "agent.hcl").write_text(AGENT.format(mount=mount, wrapping=wrapping))
    ours.must("agent -config=agent.hcl", form="table")
    token = (ours.directory / "token").read_text().strip()
    assert ours.must("token lookup", token=token).json["data"]["path"] == f"auth/{mount}/login"


def test_seal_and_unseal_by_recovery_keys(ours: Bao) -> None:
    assert ours.run("status").code == 0
    ours.must("operator seal", form="table")
    sealed = ours.run("status")
    assert (sealed.code, sealed.json["sealed"]) == (2, True)
    for share in ours.recovery_keys[: sealed.json["t"]]:
        last = ours.must(f"operator unseal {share}").json
    assert last["sealed"] is False
    ours.must("secrets list")
