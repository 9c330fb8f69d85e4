"""The helper package of the Fine-Tuning Workbook: plumbing, never the lesson.

`from ftlib import data, train` and `ftlib.data` both work; a module is imported when it is first used.
"""

import ctypes
import importlib
import os
from contextlib import suppress

__version__ = "0.1.0"

# How long a thread looks for work before it sleeps: GNU's OpenMP would look 300 000 times, LLVM's for 200 ms.
# With 1 000 looks a quiet machine lost 8 %, with 10 000 a busy one kept less than half (benchmarks/busy.py).
WAITING = {"GOMP_SPINCOUNT": "3000", "KMP_BLOCKTIME": "0"}
# mallopt's numbers for M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD: no block gets a mapping of its own, up to
# 2 GB that are free stay with the process, and the heap grows by 64 MB.
KEEPING = {-4: 0, -1: 2**31 - 1, -2: 2**26}


def _share_machine() -> None:
    """Makes settings that must stand before torch is loaded, and leaves alone what the user has set.

    Threads that spin while another program has a core keep the one that they wait for from running. And
    glibc gives a large block back to the system when it is freed: the next step gets each page anew.
    """
    if not os.environ.keys() & {*WAITING, "OMP_WAIT_POLICY"}:
        os.environ |= WAITING
    if not any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        with suppress(AttributeError, TypeError):  # another C library than glibc; Windows
            for option, value in KEEPING.items():
                ctypes.CDLL(None).mallopt(option, value)


_share_machine()


def __getattr__(name: str) -> object:
    """Imports a module of the package at its first use (PEP 562)."""
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
