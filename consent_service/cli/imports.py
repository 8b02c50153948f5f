"""Import without looking for garbage: no module brings any, and looking takes a tenth of a start."""

import gc
from importlib import import_module
from types import ModuleType


def load(module: str) -> ModuleType:
    """Return the module of this name, imported if it was not yet."""
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.enable()
