"""`mimir pki init`: a root, an intermediate, a role and a first certificate."""

from typing import TYPE_CHECKING, Any

import click

from client.errors import LocalError
from client.output import show_value
from client.pki_options import name_part, pki_command, plain_client
from client.session import Session, pass_session
from client.table import columns

if TYPE_CHECKING:
    from client.api import Client, JsonObject
    from client.pki_setup import Found, Wishes

_BITS = {"ec": (384, 256), "rsa": (4096, 3072), "ed25519": (0, 0), "ml-dsa": (87, 65)}


@pki_command(
    "init",
    examples=(
        "mimir pki init --domain example.internal",
        "mimir pki init --domain shop.internal --mount pki-shop --common-name 'Shop' --role service",
        "mimir pki init --domain example.internal --url http://pki.example.internal/v1/pki --dry-run",
    ),
)
@click.option("--mount", default="pki", metavar="PATH", help="Where the engine is, or will be, mounted [pki].")
@click.option("--domain", required=True, metavar="DOMAIN", help="The role allows it and every name below it.")
@click.option(
    "--common-name", metavar="NAME", help="What the CAs are called: 'NAME Root CA', 'NAME Issuing CA' [DOMAIN]."
)
@click.option("--role", default="web", metavar="NAME", help="The role that is made [web].")
@click.option("--key-type", type=click.Choice(tuple(_BITS)), default="ec", show_default=True, help="Of both CAs.")
@click.option("--root-ttl", default="87600h", metavar="TIME", show_default=True, help="How long the root is valid.")
@click.option("--intermediate-ttl", default="26280h", metavar="TIME", show_default=True, help="And the intermediate.")
@click.option(
    "--ttl", default="24h", metavar="TIME", show_default=True, help="And certificates, if they ask for nothing."
)
@click.option("--max-ttl", default="72h", metavar="TIME", show_default=True, help="The longest they may be valid.")
@click.option(
    "--url", metavar="URL", help="Where clients reach the mount, for CRL and OCSP [the address, /v1/, mount]."
)
@click.option("--dry-run", is_flag=True, help="Say what is missing, and change nothing.")
@pass_session
def init(session: Session, /, mount: str, dry_run: bool, **options: Any) -> None:
    """Make a PKI with sane defaults: a root (P-384) and an intermediate (P-256) in one mount, a role, a certificate.

    Both keys are made in the HSM. The root signs the intermediate, and after that nothing but CRLs and OCSP answers.
    What is there already is left as it is, so it can be run again, also after an interruption.
    """
    from client.pki_setup import check_ours, look, steps

    client = plain_client(session, "init")
    wishes = _wishes(client, mount, options)
    found = look(client, wishes)
    check_ours(found, wishes)
    done: list[JsonObject] = []
    for step in steps(found, wishes):
        if not step.is_there and not dry_run:
            step.do(client, wishes, found)
        done.append({"step": step.name, "result": _result(step.is_there, dry_run=dry_run), "what": step.says})
    done.append(_first_certificate(client, wishes, found, dry_run=dry_run))
    value: JsonObject = {"mount": f"{wishes.mount}/", "role": wishes.role, "steps": done}
    if not dry_run:
        value |= _roots(client, wishes)
    show_value(session, value, _text(value, wishes, dry_run=dry_run))


def _result(is_there: bool, *, dry_run: bool) -> str:
    return "there" if is_there else "missing" if dry_run else "made"


def _wishes(client: "Client", mount: str, options: dict[str, Any]) -> "Wishes":
    from client.pki_setup import Wishes

    where = mount.strip("/")
    domain = options["domain"].strip().strip(".").lower()
    if not where:
        raise click.UsageError("--mount is empty")
    if not domain or any(char.isspace() or char in "*/,:" for char in domain):
        raise click.UsageError("--domain is a domain, as example.internal")
    bits = _BITS[options["key_type"]]
    return Wishes(
        mount=where,
        domain=domain,
        role=name_part(options["role"], "role"),
        name=options["common_name"] or domain,
        url=_url(client, where, options["url"]),
        key_type=options["key_type"],
        root_bits=bits[0],
        intermediate_bits=bits[1],
        **{name: options[name] for name in ("root_ttl", "intermediate_ttl", "ttl", "max_ttl")},
    )


def _url(client: "Client", mount: str, given: str | None) -> str:
    """Where clients find the mount; a socket is no place for them."""
    if given is not None:
        if not given.startswith(("http://", "https://")):
            raise click.UsageError("--url begins with http:// or https://")
        return given.rstrip("/")
    if client.endpoint.scheme == "unix":
        return ""
    return f"{client.endpoint.address}/v1/{'/'.join(part for part in (client.namespace.strip('/'), mount) if part)}"


def _first_certificate(client: "Client", wishes: "Wishes", found: "Found", *, dry_run: bool) -> "JsonObject":
    """One certificate, whose chain is verified up to the root; its key is forgotten."""
    says = f"a certificate for init.{wishes.domain}, verified up to the root"
    if found.has_certificate or dry_run:
        result = _result(found.has_certificate, dry_run=True)
        return {"step": "first certificate", "result": result, "what": says}
    from client.pki_certificate import serial_text
    from client.pki_key import Names, make_csr, make_key
    from client.pki_verify import check_issued, is_self_issued, issued_of

    key, name = make_key("ec-p256"), f"init.{wishes.domain}"
    body = {"csr": make_csr(key, Names(common_name=name, alt_names=[name])), "ttl": "5m"}
    issued = issued_of(client.request("POST", f"{wishes.mount}/sign/{wishes.role}", body=body).data)
    check_issued(issued, key.public_key())
    if not any(is_self_issued(ca) for ca in issued.chain):
        raise LocalError("the first certificate's chain does not reach the root: see `mimir pki issuer list`")
    serial = serial_text(issued.certificate.serial_number)
    return {"step": "first certificate", "result": "made", "what": says, "serial_number": serial}


def _roots(client: "Client", wishes: "Wishes") -> "JsonObject":
    data = client.read(f"{wishes.mount}/issuer/root").data
    return {"root_certificate": data.get("certificate"), "url": wishes.url}


def _text(value: "JsonObject", wishes: "Wishes", *, dry_run: bool) -> str:
    table = columns(
        ("Step", "Result", "What"), [(step["step"], step["result"], step["what"]) for step in value["steps"]]
    )
    if dry_run:
        return f"{table}\n\nNothing was changed."
    option = "" if wishes.mount == "pki" else f" --mount {wishes.mount}"
    return "\n".join(
        [
            table,
            "",
            "What to do next:",
            "  Trust the root where certificates are to be believed:",
            f"    mimir pki issuer read root --pem{option} > root.pem",
            "  Get a certificate; the key is made where you run this, and does not travel:",
            f"    mimir pki issue {wishes.role} app.{wishes.domain} --out-dir tls{option}",
            "  See what there is:",
            f"    mimir pki certs{option}",
            *about_url(wishes),
        ]
    )


def about_url(wishes: "Wishes") -> list[str]:
    """What to say of URLs that not everybody reaches."""
    if not wishes.url:
        return ["", "Certificates name no CRL and OCSP: the address is a socket. Give --url, or see `mimir pki urls`."]
    if wishes.url.startswith("https://"):
        return [
            "",
            f"Certificates name {wishes.url} for CRL and OCSP; some clients fetch these by",
            "http:// alone (RFC 5280, 8). If yours do, have a proxy serve it so, and `mimir pki cluster aia_path=URL`.",
        ]
    if any(host in wishes.url for host in ("//127.", "//localhost", "//[::1]")):
        return [
            "",
            f"Certificates name {wishes.url} for CRL and OCSP, which only this machine reaches: set another with",
            f"  mimir pki cluster{'' if wishes.mount == 'pki' else f' --mount {wishes.mount}'} path=URL aia_path=URL",
        ]
    return []
