"""mimir.toml: what it may say, and the sentence for each mistake."""

import os
from pathlib import Path

import pytest

from appliance.config import Config, parse_address
from core.errors import ConfigError

GOOD = """
[hsm]
module = "/usr/lib/softhsm/libsofthsm2.so"
token_label = "mimir"
pin_credential = "hsm-pin"

[store]
url = "postgresql://mimir:secret@db/mimir"

[[listener]]
address = "127.0.0.1:8200"
"""


def write(directory: Path, text: str) -> Path:
    file = directory / "mimir.toml"
    file.write_text(text)
    return file


def load(directory: Path, text: str) -> Config:
    return Config.load(write(directory, text))


def test_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert config.server.workers == len(os.sched_getaffinity(0))
    assert config.server.max_body == 32 * 1024 * 1024
    assert config.server.request_timeout == 90
    assert config.server.data_dir == "/var/lib/mimir"
    assert not config.development


def test_encoding_for_children_is_exact(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert Config.decode(config.encode()) == config


def test_repr_hides_the_stores_password(tmp_path: Path) -> None:
    assert "secret" not in repr(load(tmp_path, GOOD))


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    text = GOOD.replace(
        'address = "127.0.0.1:8200"', 'address = "0.0.0.0:8200"\ntls_cert = "tls/c.pem"\ntls_key = "/k.pem"'
    )
    (listener,) = load(tmp_path, text).listener
    assert listener.tls_cert == str(tmp_path / "tls/c.pem")
    assert listener.tls_key == "/k.pem"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("token_label", "token_lable", "hsm.token_lable is not known: did you mean token_label?"),
        ("[store]", "[stor]", "stor is not known: did you mean store?"),
        ("[store]", "[zzz]\n[store]", "zzz is not known: the keys are hsm, store, server, listener"),
        ("[[listener]]", "[[listener]]\nport = 1", "listener.port is not known: the keys are address"),
        ("[store]", "[development]\n[store]", "development is not known"),
        ("[store]", "[server]\nworkers = 'two'\n[store]", "server.workers: Expected `int`, got `str`"),
        ("[store]", "[server]\nlog_level = 'loud'\n[store]", "server.log_level: Invalid enum value 'loud'"),
        ("[store]", "[server]\nworkers = -1\n[store]", "server.workers: must be between 1 and 1024"),
        ("[store]", "[server]\nmax_body = 0\n[store]", "server.max_body: must be greater than zero"),
        ("[store]", "[server]\nrequest_timeout = nan\n[store]", "server.request_timeout: must be greater than zero"),
        ('token_label = "mimir"', "", "hsm.token_label: say which token"),
        ('pin_credential = "hsm-pin"', "", "hsm.pin_credential: say where the PIN is"),
        ("[[listener]]", "[listener]", "listener: Expected `array`, got `object`"),
        ('address = "127.0.0.1:8200"', "", "listener[0]: Object missing required field `address`"),
        ("127.0.0.1:8200", "0.0.0.0:8200", "listener.plain_http: 0.0.0.0:8200 is reachable from other machines"),
        ("127.0.0.1:8200", ":8200", "listener.plain_http: :8200 is reachable"),
        ("127.0.0.1:8200", "127.0.0.1", 'the listener address "127.0.0.1" is not HOST:PORT'),
        ("127.0.0.1:8200", "::1:8200", 'needs brackets around IPv6: "[::1]:8200"'),
        ("127.0.0.1:8200", "vault.example:8200", "must hold an IP address, not a name"),
        ('8200"', '8200"\ntls_cert = "c"', "listener.tls_key: a TLS listener needs both"),
        ('8200"', '8200"\ntls_client_ca = "c"', "listener.tls_client_ca: client certificates need tls_cert"),
        ("[store]", "[store", "is not TOML: "),
        ("[hsm]", "[nohsm]", "nohsm is not known: did you mean hsm?"),
    ],
)
def test_mistake_is_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert sentence in caught.value.sentence
    assert "secret" not in caught.value.sentence


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing required field `hsm`"):
        load(tmp_path, GOOD.partition("[store]")[1] + GOOD.partition("[store]")[2])


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*: No such file"):
        Config.load(tmp_path / "none.toml")


@pytest.mark.parametrize("extra", ['plain_http = "anywhere"', 'tls_cert = "c"\ntls_key = "k"'])
def test_address_of_other_machines_when_said(tmp_path: Path, extra: str) -> None:
    config = load(tmp_path, GOOD.replace('"127.0.0.1:8200"', f'"0.0.0.0:8200"\n{extra}'))
    assert config.listener[0].host_and_port == ("0.0.0.0", 8200)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("[::1]:8200", ("::1", 8200)), ("localhost:1", ("127.0.0.1", 1)), (":8200", ("", 8200)), ("[::]:0", ("::", 0))],
)
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert parse_address(address) == expected


@pytest.mark.parametrize(
    "address", ["", "x", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:70000", "1.2.3.4:-1", "1.2.3:1", "[::g]:1"]
)
def test_addresses_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(address)


def test_dev_keeps_everything_below_its_directory(tmp_path: Path) -> None:
    config = Config.dev(tmp_path / "d", "127.0.0.1:8200", workers=3, no_init=True, tls=True)
    base = str(tmp_path / "d")
    assert config.development
    assert config.store.url == f"sqlite:///{base}/mimir.db"
    assert config.server.workers == 3
    assert not config.server.auto_init
    assert config.init_file == tmp_path / "d" / "init.json"
    paths = [config.hsm.pin_file, config.hsm.softhsm_token_dir, config.server.runtime_dir, config.listener[0].tls_cert]
    assert all(path.startswith(base) for path in paths)
    assert config.listener[0].url == "https://127.0.0.1:8200"
    assert not (tmp_path / "d").exists()


def test_dev_address_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        Config.dev(tmp_path, "8200")
