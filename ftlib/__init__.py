"""The helper package of the Fine-Tuning Workbook: plumbing, never the lesson.

`from ftlib import data, train` and `ftlib.data` both work; a module is imported when it is first used.
"""

import importlib

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Imports a module of the package at its first use (PEP 562)."""
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
