"""What a process that works with the HSM does for its own memory."""

import ctypes
import os
import resource

PR_SET_DUMPABLE = 4


def harden_process() -> None:
    """No core dumps, and no reading of this process's memory by others of the same user (prctl(2), PR_SET_DUMPABLE).

    Debuggers cannot attach afterwards, and /proc/self belongs to root. For production; swap must be off or encrypted
    besides, since SoftHSM's Debian build does not lock its memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "prctl")
