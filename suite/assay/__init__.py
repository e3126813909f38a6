"""Assay: how far an image classifier's answer, and what it looks at, can be trusted when the input changes.

In Python::

    import assay

    run = assay.evaluate(net, "adversarial/digits", preprocessing={"crop": (8, 8), "mean": (0,), "std": (1,)})
    run.to_frame()

Nothing heavy is imported before a function is used.
"""

from typing import TYPE_CHECKING, Any

__version__: str

if TYPE_CHECKING:
    from assay.api import Run, attack, compare, evaluate, load, saliency, verify

__all__ = ["Run", "__version__", "attack", "compare", "evaluate", "load", "saliency", "verify"]
_OF_API = frozenset({"Run", "attack", "compare", "evaluate", "load", "verify"})


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _OF_API:
        return getattr(import_module("assay.api"), name)
    if name == "saliency":  # a package that can be called
        return import_module("assay.saliency")
    if name == "__version__":  # reading what is installed takes 30 ms
        return import_module("assay.common.version").VERSION
    raise AttributeError(f"module 'assay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
