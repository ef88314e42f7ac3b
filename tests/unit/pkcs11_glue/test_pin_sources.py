"""Where the PIN comes from, and what is said when it cannot be read."""

from ctypes import string_at
from pathlib import Path

import pytest

from core.errors import HsmConfigError
from pkcs11_glue.settings import HsmSettings, PinSource


def text(buffer):
    return string_at(buffer.address, buffer.length)


def test_credential_comes_before_file_before_environment(tmp_path):
    (tmp_path / "hsm-pin").write_text("credential\n")
    (tmp_path / "file").write_text("file\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "PIN": "variable"}
    source = PinSource(credential="hsm-pin", file=tmp_path / "file", environment="PIN")
    assert text(source.read(environ)) == b"credential"
    del environ["CREDENTIALS_DIRECTORY"]
    assert text(source.read(environ)) == b"file"
    assert text(PinSource(credential="hsm-pin", environment="PIN").read(environ)) == b"variable"


def test_one_line_end_is_not_part_of_the_pin(tmp_path):
    path = tmp_path / "pin"
    for content, pin in ((b"1234", b"1234"), (b"1234\n", b"1234"), (b"1234\n\n", b"1234\n"), (b" 12 \n", b" 12 ")):
        path.write_bytes(content)
        assert text(PinSource(file=path).read({})) == pin


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 257])
def test_a_file_without_a_sensible_pin_is_refused_without_quoting_it(tmp_path, content):
    path = tmp_path / "pin"
    path.write_bytes(content)
    with pytest.raises(HsmConfigError, match="does not hold a PIN of 1 to 256 bytes") as caught:
        PinSource(file=path).read({})
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (PinSource(), "no source for the HSM's PIN"),
        (PinSource(file=Path("/nowhere/pin")), "/nowhere/pin, cannot be read: No such file"),
        (PinSource(file=Path("/")), "cannot be read: Is a directory"),
        (PinSource(environment="MIMIR_PIN"), "MIMIR_PIN.*is not set"),
        (PinSource(credential="hsm-pin"), "CREDENTIALS_DIRECTORY"),
    ],
)
def test_a_missing_source_is_named(source, sentence):
    with pytest.raises(HsmConfigError, match=sentence):
        source.read({})


def test_a_wiped_pin_is_gone(tmp_path):
    (tmp_path / "pin").write_text("secret-pin")
    buffer = PinSource(file=tmp_path / "pin").read({})
    buffer.wipe()
    assert text(buffer) == bytes(10)
    assert "secret" not in repr(buffer)


@pytest.mark.parametrize(
    "change", [{"token_label": None}, {"token_label": ""}, {"pool_size": 0}, {"handle_cache": 0}], ids=str
)
def test_settings_that_cannot_work_are_refused(change):
    values = {"module": Path("m"), "pin": PinSource(), "login_lock": Path("l"), "token_label": "t"}
    with pytest.raises(HsmConfigError):
        HsmSettings(**(values | change))
