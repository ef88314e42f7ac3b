"""SoftHSM tokens for the tests: made once per worker and copied, so that a test may break its own."""

import os
import shutil
import subprocess
import sys
import time
from ctypes import CDLL, CFUNCTYPE, byref, c_char_p, c_ulong, c_void_p, cast, sizeof
from pathlib import Path

import pytest

from pkcs11_glue import cryptoki
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.settings import HsmSettings, PinSource
from softhsm.provisioning import MODULES, provision, softhsm_environment

ROOT = Path(__file__).resolve().parents[2]
MODULE = next((path for path in MODULES if path.is_file()), None)
LABEL = "mimir-test"

PLACES = {name: place for name, (place, _) in cryptoki._FUNCTIONS.items()}
ARGUMENTS = {  # a stand-in gets addresses, where bytes are passed
    place: tuple(c_void_p if kind is c_char_p else kind for kind in kinds)
    for place, kinds in cryptoki._FUNCTIONS.values()
}


def pytest_collection_modifyitems(items):
    if MODULE is None:
        for item in items:
            if "tests/hsm" in item.nodeid:
                item.add_marker(pytest.mark.skip(reason="SoftHSM is not installed"))


class TokenDirectory:
    """A provisioned token below `path`."""

    def __init__(self, path):
        self.path = path
        self.tokens = path / "tokens"

    def settings(self, **changes):
        values = {
            "module": MODULE,
            "token_label": LABEL,
            "pin": PinSource(file=self.path / "pin"),
            "login_lock": self.path / "login.lock",
        }
        return HsmSettings(**(values | changes))

    @property
    def environment(self):
        return os.environ | softhsm_environment(self.path) | {"PYTHONPATH": str(ROOT), "TOKEN_DIR": str(self.path)}

    def run(self, script, *arguments, timeout=60):
        """Run Python code in a process of its own, as another user of the token would."""
        command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
        return subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
        )


@pytest.fixture(scope="session")
def provisioned(tmp_path_factory):
    path = tmp_path_factory.mktemp("token-template")
    provision(path, label=LABEL, pin_file=path / "pin")
    return path


@pytest.fixture
def token(provisioned, tmp_path, monkeypatch):
    """A token that this test may do anything to."""
    path = tmp_path / "hsm"
    shutil.copytree(provisioned, path)
    config = path / "softhsm2.conf"
    config.write_text(config.read_text().replace(str(provisioned), str(path)))
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    return TokenDirectory(path)


@pytest.fixture
async def hsm(token):
    opened = await Hsm.open(token.settings())
    yield opened
    await opened.close()


class FunctionList:
    """Faults and latency, by writing other functions into the module's list."""

    places = PLACES  # in it, by name

    def __init__(self):
        pointer = c_void_p()
        library = CDLL(str(MODULE))
        library.C_GetFunctionList(byref(pointer))
        self._list = (c_void_p * 68).from_address(pointer.value + sizeof(c_void_p))
        self._saved = {}
        self._keep = []

    def replace(self, index, make):
        """`make(original)` gives the function that stands in for entry `index`."""
        prototype = CFUNCTYPE(c_ulong, *ARGUMENTS[index])
        self._saved.setdefault(index, self._list[index])
        replacement = prototype(make(prototype(self._saved[index])))
        self._keep.append(replacement)
        self._list[index] = cast(replacement, c_void_p).value

    def fail(self, index, code):
        """Run the original, so that no operation stays open, and answer `code`."""

        def make(original):
            def failing(*arguments):
                original(*arguments)
                return code

            return failing

        self.replace(index, make)

    def delay(self, index, seconds):
        def make(original):
            def slow(*arguments):
                time.sleep(seconds)
                return original(*arguments)

            return slow

        self.replace(index, make)

    def restore(self):
        for index, address in self._saved.items():
            self._list[index] = address


@pytest.fixture
def function_list():
    patched = FunctionList()
    yield patched
    patched.restore()
