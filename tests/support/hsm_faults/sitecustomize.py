"""Loaded into a worker by PYTHONPATH: patches SoftHSM's function list as a control file says.

The function list is writable memory and every caller goes through it, so latency and faults need no compiler and no
change of the product. The control file holds {"code": CKR number, "delay": seconds}; empty means healthy. The real
function always runs first, so that no operation stays open on the session.
"""

import ctypes
import json
import os
import threading
import time
from pathlib import Path

# entries of CK_FUNCTION_LIST after the version: what a dead device would refuse
_INDEX = {"C_OpenSession": 12, "C_FindObjectsInit": 26, "C_EncryptInit": 29, "C_Encrypt": 30, "C_Decrypt": 34}
_WORDS = 70


class _FunctionList(ctypes.Structure):
    _fields_ = [("version", ctypes.c_ulong), ("f", ctypes.c_void_p * _WORDS)]


_PROTO = ctypes.CFUNCTYPE(*[ctypes.c_ulong] * 8)
_state: dict[str, float] = {}
_keep: list[object] = []


def _loaded_module() -> str | None:
    maps = Path("/proc/self/maps").read_text()
    return next((line.split()[-1] for line in maps.splitlines() if "libsofthsm2" in line), None)


def _patch(path: str) -> None:
    library = ctypes.CDLL(path)
    pointer = ctypes.POINTER(_FunctionList)()
    library.C_GetFunctionList(ctypes.byref(pointer))
    table = pointer.contents.f
    for index in _INDEX.values():
        original = _PROTO(table[index])

        def call(*args: int, original: object = original) -> int:
            if _state.get("delay"):
                time.sleep(_state["delay"])
            real = original(*args)  # type: ignore[operator]
            return int(_state.get("code") or real)

        callback = _PROTO(call)
        _keep.extend((original, callback))
        table[index] = ctypes.cast(callback, ctypes.c_void_p).value


def _watch(control: Path) -> None:
    patched = False
    while True:
        path = None if patched else _loaded_module()
        if path and control.exists():
            _patch(path)
            patched = True
        if patched:
            try:
                fresh = json.loads(control.read_text() or "{}")
            except (OSError, ValueError):
                fresh = {}
            _state.clear()
            _state.update(fresh)
        time.sleep(0.02)


if "MIMIR_TEST_HSM_FAULTS" in os.environ:
    threading.Thread(target=_watch, args=(Path(os.environ["MIMIR_TEST_HSM_FAULTS"]),), daemon=True).start()
