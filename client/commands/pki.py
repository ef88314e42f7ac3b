"""`mimir pki …`: certificates, and the CAs that sign them."""

from client.framework import group

_HERE = "client.commands.pki"
pki = group(
    "pki",
    summary="Issue, show, find and revoke certificates; run the CAs whose keys are in the HSM.",
    lazy={
        "init": f"{_HERE}_init:init",
        "issue": f"{_HERE}_issue:issue",
        "sign": f"{_HERE}_sign:sign",
        "sign-verbatim": f"{_HERE}_sign:sign_verbatim",
        "show": f"{_HERE}_show:show_",
        "certs": f"{_HERE}_certs:certs",
        "revoke": f"{_HERE}_revoke:revoke",
        "verify-sign": f"{_HERE}_verify:verify_sign",
        "warnings": f"{_HERE}_warnings:warnings",
        "health-check": f"{_HERE}_health:health_check",
        "role": f"{_HERE}_role:role",
        "root": f"{_HERE}_root:root",
        "intermediate": f"{_HERE}_intermediate:intermediate",
        "issuer": f"{_HERE}_issuer:issuer",
        "key": f"{_HERE}_key:key",
        "crl": f"{_HERE}_crl:crl",
        "ocsp": f"{_HERE}_ocsp:ocsp",
        "tidy": f"{_HERE}_tidy:tidy",
        "urls": f"{_HERE}_config:urls",
        "cluster": f"{_HERE}_config:cluster",
    },
    examples=(
        "mimir pki init --domain example.internal",
        "mimir pki issue web app.example.internal --out-dir /etc/app/tls",
        "mimir pki certs --expiring 7d",
        "mimir pki show /etc/app/tls/cert.pem",
    ),
)
