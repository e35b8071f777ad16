"""The reference workloads: the networks of the paper, by name."""

import difflib
import inspect
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from syops.errors import SyopsLookupError

if TYPE_CHECKING:
    from torch import nn

    from syops.models.calibration import calibrate

__all__ = ["calibrate", "create_model", "list_models"]

# name: (module of the family, its factory there, the arguments that the name stands for)
_MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    f"{family}{depth}": ("resnet", family, {"depth": depth})
    for family in ("dsnn", "fsnn", "sew_resnet")
    for depth in (18, 34, 50, 101)
}
_MODELS["spikformer_4_384"] = ("spikformer", "cifar", {})
_MODELS |= {
    f"spikformer_8_{width}": ("spikformer", "imagenet", {"width": width, "heads": heads})
    for width, heads in ((384, 8), (512, 8), (768, 12))
}


def list_models() -> tuple[str, ...]:
    """The names that `create_model` knows."""
    return tuple(_MODELS)


def create_model(name: str, **kwargs: Any) -> "nn.Module":
    """A bundled network with fresh weights, in train mode as `torch.nn` does it.

    Keywords of all: ``T=4`` time-steps, ``num_classes=1000``, ``in_channels=3``, and ``g``, the
    connection function: AND, IAND, OR or XOR (default IAND), for ``sew_resnet*`` and
    ``spikformer*`` also ADD (the default there). ``dsnn*`` returns the named tuple
    ``(spike, accumulated)``, and so does a Spikformer with ``aap=True``, the others a tensor.
    ``spikformer_4_384`` (``num_classes=10``) has other sizes by ``depth``, ``width``, ``heads``
    and ``patch`` (4 or 16).
    Raises `SyopsLookupError` for an unknown name or keyword, `SyopsValueError` for a bad value.
    """
    if name not in _MODELS:
        raise _unknown("model", name, _MODELS)
    module, factory_name, fixed = _MODELS[name]
    factory = getattr(import_module(f"{__name__}.{module}"), factory_name)
    keywords = [k for k in inspect.signature(factory).parameters if k not in fixed]
    for keyword in kwargs:
        if keyword not in keywords:
            raise _unknown(f"keyword of {name}", keyword, keywords)
    return factory(**fixed, **kwargs)


def __getattr__(name: str) -> Any:
    """`calibrate`, on first use: listing the models needs no torch."""
    if name == "calibrate":
        return import_module(f"{__name__}.calibration").calibrate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _unknown(what: str, name: str, known: Iterable[str]) -> SyopsLookupError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return SyopsLookupError(f"unknown {what}: {name!r}; {hint}known: {', '.join(known)}")
