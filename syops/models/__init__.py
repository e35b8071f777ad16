"""The reference workloads: the networks of the paper, by name."""

import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from syops.errors import SyopsLookupError, SyopsTypeError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from syops.models.calibration import calibrate
    from syops.models.surgery import attach_aap, detach_aap, zero_init_residual

__all__ = [
    "attach_aap",
    "calibrate",
    "create_model",
    "detach_aap",
    "input_shape",
    "list_models",
    "zero_init_residual",
]

_HOME = {
    "attach_aap": "surgery",
    "calibrate": "calibration",
    "detach_aap": "surgery",
    "zero_init_residual": "surgery",
}

# name: (module of the family, its factory there, the arguments that the name stands for)
_RESNETS = {
    **dict.fromkeys(("dsnn", "fsnn", "sew_resnet", "spiking_resnet"), (18, 34, 50, 101, 152)),
    "resnet": (18, 34, 50, 101),
}
_MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{
        f"{family}{depth}": ("resnet", family, {"depth": depth})
        for family, depths in _RESNETS.items()
        for depth in depths
    },
    "spiking_resnet34_tdbn": ("resnet", "spiking_resnet_tdbn", {"depth": 34}),
    "spiking_resnet50_tdbn": ("resnet", "spiking_resnet_tdbn", {"depth": 50}),
    "preact_resnet18": ("preact", "preact_resnet18", {}),
    **{
        f"{family}_{'wide' * wide}7b": ("seven_b", f"{family}_7b", {"wide": wide})
        for family in ("sew", "dsnn", "fsnn")
        for wide in (False, True)
    },
    "spiking_7b": ("seven_b", "spiking_7b", {}),
    "plain_7b": ("seven_b", "plain_7b", {}),
    **{
        f"{family}_digits": ("digits", f"{family}_digits", {})
        for family in ("dsnn", "fsnn", "sew", "spiking")
    },
}
_MODELS["spikformer_4_384"] = ("spikformer", "cifar", {})
_MODELS |= {
    f"spikformer_8_{width}": ("spikformer", "imagenet", {"width": width, "heads": heads})
    for width, heads in ((384, 8), (512, 8), (768, 12))
}


def list_models() -> tuple[str, ...]:
    """The names that `create_model` knows."""
    return tuple(_MODELS)


def input_shape(name: str, in_channels: int | None = None) -> tuple[int, int, int]:
    """Channels, height and width of what the paper feeds a network.

    Args:
        name: of a bundled network.
        in_channels: where it was created with another number of them.

    Raises:
        SyopsLookupError: an unknown name.
    """
    if name not in _MODELS:
        raise _unknown("model", name, _MODELS)
    shapes = {"7b": (2, 128), "digits": (1, 8), "spikformer_4_384": (3, 32)}
    channels, size = next((shape for part, shape in shapes.items() if part in name), (3, 224))
    return channels if in_channels is None else in_channels, size, size


def create_model(
    name: str, *, weights: "str | os.PathLike[str] | None" = None, **kwargs: Any
) -> "nn.Module":
    """A bundled network, in train mode as `torch.nn` does it.

    Its weights are fresh, or those of the file ``weights``: a state dict (with the names documented
    in the module of the family) from ``torch.save``, or a .safetensors file.

    Keywords of all: ``num_classes=1000`` and ``in_channels=3``; of the spiking ones ``T=4``
    time-steps (6 with td-BN, 50 for ``preact_resnet18``) and those of `syops.models.parts.Neurons`:
    ``neuron="IF"``, ``v_threshold=1.0``, ``detach_reset=True`` and ``surrogate``. The ``*_7b`` are
    for 11 classes (wide: 10), 2 channels, T=16 and PLIF neurons. ``dsnn*``, ``fsnn*`` and ``sew_*``
    have ``g``, the connection function: AND, IAND, OR or XOR (default IAND), for ``sew_*`` also ADD
    (the default there); the former two have ``residual``, the spike stream of Eq. (10): "sew" or
    "spiking". ``dsnn*`` returns the named tuple ``(spike, accumulated)``, the others a tensor.

    ``spikformer*`` has ``neuron="LIF"``, ``g="ADD"`` and ``aap=False``; with ``aap=True`` (and
    another g) it returns the named tuple. ``spikformer_4_384`` has ``num_classes=10``, and other
    sizes by ``depth``, ``width``, ``heads`` and ``patch`` (4 or 16).

    ``*_digits`` are of any number of ``blocks=8``, of ``channels=16``; they have 10 classes and 1
    channel.

    Raises `SyopsLookupError` for an unknown name or keyword, `SyopsValueError` or `SyopsTypeError`
    for a bad value, `SyopsFileError` for weights that cannot be read and `SyopsValueError` for
    those of another network.
    """
    if not isinstance(name, str):
        raise SyopsTypeError(f"name must be that of a bundled network, got {type(name).__name__}")
    if name not in _MODELS:
        raise _unknown("model", name, _MODELS)
    module, factory_name, fixed = _MODELS[name]
    factory = getattr(import_module(f"{__name__}.{module}"), factory_name)
    keywords = [k for k in _keywords(factory) if k not in fixed]
    for keyword in kwargs:
        if keyword not in keywords:
            raise _unknown(f"keyword of {name}", keyword, keywords)
    model = factory(**fixed, **kwargs)
    if weights is not None:
        import_module(f"{__name__}.weights").load_weights(model, weights)
    return model


def _keywords(factory: Callable[..., Any]) -> list[str]:
    """The names of a factory's keywords; its ``**neurons`` stand for those of `Neurons`."""
    from syops.models.parts import Neurons

    parameters = inspect.signature(factory).parameters.values()
    own = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    has_neurons = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return own + [field.name for field in fields(Neurons)] if has_neurons else own


def __getattr__(name: str) -> Any:
    """What is done to models, on first use: listing them needs no torch."""
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _unknown(what: str, name: str, known: Iterable[str]) -> SyopsLookupError:
    hint = did_you_mean(name, known)
    return SyopsLookupError(f"unknown {what}: {name!r}; {hint}known: {', '.join(known)}")
