"""`bench/crl`: what a CRL of 100,000 certificates costs: how soon a revocation is on it, and what issuing notices.

One mount on a server of two workers, with audit on and the CA's key in the HSM. Certificates are issued all the time;
in one run nothing is revoked, in the other a certificate is revoked as soon as the last one is on the CRL, so that the
housekeeper signs one CRL after the other. The two take turns.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

from cryptography import x509

from bench.figures import add_json_option, report
from bench.http_api import Api
from bench.load import Sample, run_wrk
from bench.pki_mounts import NAME, STORED, make_authority
from bench.servers import ROOT, Mimir, ServerError
from bench.startup import say

_REST = 12  # seconds


def fill(directory: Path, mount: str, issuer_id: str, *, count: int) -> None:
    """Revoked certificates, written past the API."""
    say(f"writing {count:,} revoked certificates past the API")
    command = [sys.executable, "-m", "bench.inventory_rows", str(directory), mount, issuer_id, str(count), "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"the certificates could not be written:\n{done.stderr[-2000:]}")


def revoke_until_listed(api: Api) -> tuple[float, int]:
    """Seconds from a revocation to the CRL that has it, and how many are on that."""
    made = api.call("POST", f"pki/issue/{STORED}", {"common_name": NAME, "ttl": "24h"})["data"]
    serial = int(made["serial_number"].replace(":", ""), 16)
    begin = time.monotonic()
    api.call("POST", "pki/revoke", {"serial_number": made["serial_number"]})
    while True:
        octets = api.fetch("pki/crl")
        crl = x509.load_der_x509_crl(octets) if octets else None
        if crl is not None and crl.get_revoked_certificate_by_serial_number(serial) is not None:
            return time.monotonic() - begin, len(crl)
        time.sleep(0.5)  # reading it costs something, too


def after_a_rest(api: Api) -> tuple[float, int]:
    """The housekeeper rests for twice as long as a large CRL took it, before it makes the next one."""
    time.sleep(_REST)
    return revoke_until_listed(api)


class Revoker(threading.Thread):
    """Revokes one after the other until told to stop."""

    def __init__(self, server: Mimir) -> None:
        super().__init__()
        self._server = server
        self.stopped = threading.Event()
        self.took: list[float] = []

    def run(self) -> None:
        """In a thread of its own."""
        with Api(self._server.address, self._server.token) as api:
            while not self.stopped.is_set():
                self.took.append(revoke_until_listed(api)[0])


def issuing(server: Mimir, seconds: int) -> Sample:
    """Issue for a while."""
    body = json.dumps({"common_name": NAME, "ttl": "24h"}).encode()
    return run_wrk(server.address, f"pki/issue/{STORED}", token=server.token, body=body, seconds=seconds)


def run(directory: Path, *, revoked: int, rounds: int, seconds: int) -> dict[str, object]:
    """The whole measurement."""
    server = Mimir(directory / "mimir", workers=2).start()
    with Api(server.address, server.token) as api:
        make_authority(api)
        issuer_id = api.call("GET", "pki/config/issuers")["data"]["default"]
        uuid = api.call("GET", "sys/mounts")["data"]["pki/"]["uuid"]
    server.stop()
    fill(directory / "mimir", uuid, issuer_id, count=revoked)
    server.start()
    try:
        server.enable_audit()
        with Api(server.address, server.token) as api:
            revoke_until_listed(api)
            alone = [after_a_rest(api) for _ in range(3)]
        quiet, busy, took = [], [], []
        for _ in range(rounds):
            quiet.append(issuing(server, seconds))
            revoker = Revoker(server)
            revoker.start()
            busy.append(issuing(server, seconds))
            revoker.stopped.set()
            revoker.join()
            took += revoker.took
    finally:
        server.stop()
    return {
        "on_the_crl": alone[-1][1],
        "listed_after_seconds": round(median(seconds for seconds, _ in alone), 2),
        "listed_under_load_seconds": round(median(took), 2),
        "issue_rate": round(median(sample.rate for sample in quiet)),
        "issue_p99_ms": round(median(sample.p99 for sample in quiet), 1),
        "issue_rate_while_signing": round(median(sample.rate for sample in busy)),
        "issue_p99_while_signing_ms": round(median(sample.p99 for sample in busy), 1),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/crl", description="Measure what a large CRL costs.")
    parser.add_argument("--revoked", type=int, default=100_000, help="certificates on it (default: 100000)")
    parser.add_argument("--seconds", type=int, default=10, help="length of one round (default: 10)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each kind (default: 3)")
    add_json_option(parser)
    options = parser.parse_args()
    return report(
        "bench/crl",
        lambda directory: run(directory, revoked=options.revoked, rounds=options.rounds, seconds=options.seconds),
        json_file=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
