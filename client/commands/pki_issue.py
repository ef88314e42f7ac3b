"""`mimir pki issue`: a key and its certificate; the key is made here and does not travel."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from client.commands.transit_data import warn_on_a_terminal
from client.errors import AbsentError, DeniedError, LocalError
from client.output import show, show_value
from client.pki_options import (
    by_issuer,
    issuer_option,
    mount_option,
    name_part,
    pem_lines,
    pki_command,
    pki_path,
    plain_client,
    ttl_option,
)
from client.session import Session, pass_session
from client.table import key_values
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject
    from client.pki_key import Names

_NAME_MEMBERS = ("common_name", "alt_names", "ip_sans", "uri_sans")
_ANSWERED = ("csr", "format", "private_key_format", "remove_roots_from_chain", "pkcs12_password")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for, whoever makes the key."""

    mount: str
    role: str
    issuer: str | None
    names: "Names"
    members: "JsonObject"  # ttl and what else was given

    def path(self, verb: str) -> str:
        """Of issue or sign, below the issuer that was named."""
        return pki_path(self.mount, *by_issuer(self.issuer, verb, name_part(self.role, "role")))


@pki_command(
    "issue",
    examples=(
        "mimir pki issue web app.example.internal --out-dir /etc/app/tls",
        "mimir pki issue web --common-name app.example.internal --san www.example.internal --ip 192.0.2.7 --ttl 12h",
        "mimir pki issue mesh --uri spiffe://example.internal/ns/shop/sa/cart --out-dir tls -o json",
        "mimir pki issue web app.example.internal --out-dir tls --pkcs12 --password-file p12.password",
        "mimir pki issue web app.example.internal --out-dir tls not_after=2027-01-01T00:00:00Z",
    ),
)
@click.argument("role")
@click.argument("words", nargs=-1, metavar="[NAME] [KEY=VALUE]...")
@click.option("--common-name", metavar="NAME", help="As NAME: the common name, and a SAN.")
@click.option("--san", "sans", multiple=True, metavar="NAME", help="A DNS name or mail address besides; may repeat.")
@click.option("--ip", "ips", multiple=True, metavar="ADDRESS", help="An IP address; may repeat.")
@click.option("--uri", "uris", multiple=True, metavar="URI", help="A URI, as spiffe://…; may repeat.")
@ttl_option
@issuer_option
@click.option("--key-type", metavar="KIND", help="ec-p256, ed25519, rsa-3072, …; what the role wants, if not given.")
@click.option("--server-key", is_flag=True, help="Have the appliance make the key, and send it here.")
@click.option("--out-dir", metavar="DIR", help="Write key.pem, cert.pem, chain.pem, fullchain.pem and ca.pem there.")
@click.option("--overwrite", is_flag=True, help="Replace files of these names that another program wrote.")
@click.option("--pkcs12", is_flag=True, help="With bundle.p12: all in one file under a password.")
@click.option("--password-file", metavar="FILE|-", help="The password of bundle.p12; asked for, if not given.")
@mount_option
@pass_session
def issue(session: Session, /, role: str, words: tuple[str, ...], mount: str, **options: Any) -> None:
    """Issue a certificate under ROLE, and a key that is made on this machine: only a CSR is sent.

    With --out-dir all files change in one step, so a service never reads a key beside the certificate of another; run
    it again to renew. Without it key and certificates are printed. What the appliance answers is checked: the
    certificate is of our key, and the chain holds.
    """
    _check_options(options)
    asked = _request(session, role, words, mount, options)
    client = plain_client(session, "--out-dir" if options["out_dir"] else "a key that is made here")
    if options["out_dir"]:
        from client.pki_directory import check_directory
        from client.pki_files import names_of

        check_directory(options["out_dir"], names_of(pkcs12=options["pkcs12"]), overwrite=options["overwrite"])
    password = _password(session, options)
    answer, key = _with_server_key(client, asked) if options["server_key"] else _with_key(client, asked, options)
    if options["out_dir"]:
        _write(session, answer, key, options, password)
    else:
        _print(session, answer, key)


def _check_options(options: dict[str, Any]) -> None:
    if options["server_key"] and options["key_type"]:
        raise click.UsageError(
            "--key-type is of keys that are made here: with --server-key write key_type=… key_bits=…"
        )
    if (options["overwrite"] or options["pkcs12"]) and not options["out_dir"]:
        raise click.UsageError("--overwrite and --pkcs12 go with --out-dir")
    if options["password_file"] and not options["pkcs12"]:
        raise click.UsageError("--password-file goes with --pkcs12")


def _request(session: Session, role: str, words: tuple[str, ...], mount: str, options: dict[str, Any]) -> Request:
    from client.pki_key import Names

    name = words[0] if words and "=" not in words[0] and words[0][0] not in "@-" else None
    members = session.inputs.pairs(words if name is None else words[1:])
    if refused := sorted(members.keys() & set(_ANSWERED)):
        raise click.UsageError(f"{refused[0]} is decided by this command: use `mimir write` to set it yourself")
    texts = {member: members.pop(member, "") for member in _NAME_MEMBERS}
    common = [text for text in (name, options["common_name"], texts["common_name"]) if text]
    if len(common) > 1:
        raise click.UsageError("the common name is given twice: as NAME, with --common-name or as common_name=…")
    names = Names(
        common_name="".join(common),
        alt_names=[*options["sans"], *_listed(texts["alt_names"])],
        ip_sans=[*options["ips"], *_listed(texts["ip_sans"])],
        uri_sans=[*options["uris"], *_listed(texts["uri_sans"])],
    )
    if not names.members():
        raise click.UsageError("give a name, as `mimir pki issue ROLE app.example.internal`, or --san, --ip or --uri")
    if options["ttl"] is not None:
        members["ttl"] = options["ttl"]
    return Request(mount=mount, role=role, issuer=options["issuer"], names=names, members=members)


def _listed(value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    return [part.strip() for text in texts for part in str(text).split(",") if part.strip()]


def _password(session: Session, options: dict[str, Any]) -> bytes:
    if not options["pkcs12"]:
        return b""
    if options["password_file"] is not None:
        return session.inputs.text(_as_source(options["password_file"]), what="password").encode()
    return session.inputs.hidden("Password of bundle.p12", what="password").encode()


def _as_source(name: str) -> str:
    return "-" if name == "-" else f"@{name}"


def _with_key(client: "Client", asked: Request, options: dict[str, Any]) -> "tuple[Answer, Any]":
    from client.pki_key import kind_of_role, make_csr, make_key
    from client.pki_verify import check_issued, issued_of

    role = _role(client, asked)
    key = make_key(options["key_type"] or kind_of_role(role.get("key_type"), role.get("key_bits")))
    body = _names_besides(asked.names, role) | asked.members | {"csr": make_csr(key, _with_common_name(asked.names))}
    answer = client.request("POST", asked.path("sign"), body=body)
    check_issued(issued_of(answer.data), key.public_key())
    return answer, key


def _names_besides(names: "Names", role: "JsonObject") -> "JsonObject":
    """The names that the role does not take from the CSR; all of them, when the role is not known."""
    taken = {"common_name"} if role.get("use_csr_common_name") else set()
    taken |= {"alt_names", "ip_sans", "uri_sans"} if role.get("use_csr_sans") else set()
    return {name: value for name, value in names.members().items() if name not in taken}


def _with_common_name(names: "Names") -> "Names":
    """The common name is a SAN, too, as clients look at nothing else (RFC 9525, 2)."""
    common = names.common_name
    if not common or common in names.alt_names or " " in common or common in names.ip_sans:
        return names
    return replace(names, alt_names=[common, *names.alt_names])


def _role(client: "Client", asked: Request) -> "JsonObject":
    """What it wants; nothing for those who may not read it: they get the usual key, which the role may refuse."""
    try:
        return client.read(pki_path(asked.mount, "roles", name_part(asked.role, "role"))).data
    except DeniedError:
        return {}
    except AbsentError as exc:
        raise AbsentError(f"{exc}. See `mimir pki role list --mount {asked.mount}`") from exc


def _with_server_key(client: "Client", asked: Request) -> "tuple[Answer, Any]":
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from client.pki_verify import check_issued, issued_of

    body = asked.names.members() | asked.members
    answer = client.request("POST", asked.path("issue"), body=body)
    text = answer.data.get("private_key")
    try:
        key = load_pem_private_key(str(text).encode(), None)
    except ValueError as exc:
        raise LocalError("the answer holds no private key that can be read") from exc
    check_issued(issued_of(answer.data), key.public_key())
    return answer, key


def _print(session: Session, answer: "Answer", key: Any) -> None:
    from client.pki_key import key_pem

    data = answer.data | {"private_key": key_pem(key).decode("ascii")}
    whole = replace(answer, body=answer.body | {"data": data})
    show(session, whole, lambda given: pem_lines(given, "private_key", "certificate", "ca_chain"))
    if session.field in {"", "private_key"}:
        warn_on_a_terminal("the private key")


def _write(session: Session, answer: "Answer", key: Any, options: dict[str, Any], password: bytes) -> None:
    from client.pki_certificate import serial_text
    from client.pki_extensions import now_utc
    from client.pki_files import write_files
    from client.pki_verify import issued_of

    now = now_utc()
    issued = issued_of(answer.data)
    try:
        value = write_files(options["out_dir"], issued, key, password=password, now=now, overwrite=options["overwrite"])
    except LocalError as exc:
        serial = serial_text(issued.certificate.serial_number)
        raise LocalError(f"{exc}. The certificate is issued: take it back with `mimir pki revoke {serial}`") from exc
    for warning in answer.body.get("warnings") or []:
        click.echo(f"WARNING: {printable(str(warning))}", err=True)
    rows = [(name, text) for name, text in value.items() if name != "files"]
    show_value(session, value, key_values([*rows, *value["files"].items()]))
