"""What is known of SNN libraries: which module is a neuron, and how states are kept.

Nothing of them is imported: modules are recognised by the name of their exact type, since a
subclass may compute anything.
"""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from syops.errors import SyopsTypeError, first_line
from syops.signals import ANALOG, Opaque

NeuronSignal = tuple[int, ...] | Opaque
"""The values that a neuron gives: {0, 1}, {-1, 0, 1}, {0..k}, or analog ones."""

_BINARY = {
    *("IFNode", "LIFNode", "SimpleIFNode", "SimpleLIFNode", "ParametricLIFNode", "QIFNode"),
    *("EIFNode", "IzhikevichNode", "KLIFNode", "HalfThresholdIFNode", "ActivationAwareIFNode"),
    *("ComplementaryLIFNode", "CUBALIFNode", "GatedLIFNode", "RAFNode", "SLTTLIFNode"),
}
_NEURONS: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys(_BINARY, (0, 1)),
    **dict.fromkeys(("TernaryIFNode", "TernaryLIFNode"), (-1, 0, 1)),
    "ILIFNode": None,
}
_DYNAMICS = {
    *("forward", "single_step_forward", "multi_step_forward", "functional_forward"),
    *("neuronal_charge", "neuronal_fire", "neuronal_reset"),
}
_ANALOG_NEURONS = {"LIAFNode", "NonSpikingIFNode", "NonSpikingLIFNode"}


def neuron_signal(
    module: nn.Module, registered: Mapping[type, NeuronSignal] = MappingProxyType({})
) -> NeuronSignal | None:
    """The values that a known neuron module gives in its configuration.

    ``registered`` are the user's own. None for every other module, which is then watched from
    inside.
    """
    if type(module) in registered:
        return registered[type(module)]
    if not _is_from(module, "spikingjelly.activation_based.neuron"):
        return None
    name = type(module).__name__
    if vars(module).keys() & _DYNAMICS:  # replaced on this very object
        return None
    if name in _ANALOG_NEURONS:
        return ANALOG
    if name not in _NEURONS:
        return None
    surrogate = getattr(module, "surrogate_function", None)
    if surrogate is None or not _is_from(surrogate, "spikingjelly.activation_based.surrogate"):
        return None
    if not getattr(surrogate, "spiking", True):
        return ANALOG
    if type(surrogate).__name__ == "MultiLevelSpikeCount":
        return tuple(range(surrogate.max_spike_count + 1))
    return _NEURONS[name]


_FOLDABLE = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm)
_LIBRARIES = ("torch.nn.modules.", "spikingjelly.activation_based.layer")
_PLAIN = {
    *("Linear", "Conv1d", "Conv2d", "Conv3d", "_ConvNd"),
    *("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"),
    *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "_BatchNorm", "SyncBatchNorm"),
    "_ThresholdDependentBatchNormBase",
}
"""Classes of these libraries whose methods apply the weights that a module has, and no others."""
_APPLYING = {"forward", "_conv_forward", "super_forward"}
"""The methods that do so."""


def applies_its_weights(module: nn.Module) -> bool:
    """Whether a convolution, linear layer or BatchNorm computes as torch's own does.

    A subclass does, unless it has a forward of its own.
    """
    kind: type = type(module)
    return _is_plain(kind) and not vars(module).keys() & _APPLYING


@cache
def _is_plain(kind: type) -> bool:
    methods = [getattr(kind, name) for name in _APPLYING if hasattr(kind, name)]
    return issubclass(kind, _FOLDABLE) and all(
        method.__module__.startswith(_LIBRARIES) and method.__qualname__.split(".")[0] in _PLAIN
        for method in methods
    )


def states_of(neuron: nn.Module) -> int:
    """How many variables a neuron keeps for each of its outputs from one time-step to the next.

    spikingjelly registers them; one is taken for granted of any other.
    """
    memories = getattr(neuron, "_memories", None)
    if not isinstance(memories, dict):
        return 1
    return sum(value is not None and not name.endswith("_seq") for name, value in memories.items())


def state_tensors(neuron: nn.Module) -> list[Tensor]:
    """The membrane potentials and other variables of a neuron of spikingjelly, as they are now."""
    memories = getattr(neuron, "_memories", None)
    if not isinstance(memories, dict):
        return []
    values = (*memories.values(), vars(neuron).get("v_seq"))
    return [value for value in values if isinstance(value, Tensor)]


def decomposed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of an operator, its parts executed one by one; NotImplemented if it has none.

    spikingjelly 2 hides what a neuron does in one operator, but on a CPU, whose kernels are Python:
    without values they say what happens.
    """
    out = func.decompose(*args, **kwargs)
    if out is not NotImplemented or not func.namespace.startswith("sj_") or not args[0].is_meta:
        return out
    if not torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CPU"):
        return NotImplemented
    return func._op_dk(torch._C.DispatchKey.CPU, *args, **kwargs)


def _is_from(obj: object, package: str) -> bool:
    where = type(obj).__module__
    return where == package or where.startswith(f"{package}.")


class Lending:
    """Keeps a model as found while forward passes run on copies of its states.

    A state is any attribute of a module but its parameters: buffers, membrane potentials,
    counters, lists of spikes. `put_back` gives the model its own ones again.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._found = [_Found(module) for module in model.modules()]
        states = chain.from_iterable(tensors_of(found.changeable) for found in self._found)
        owners = Counter(tensor.untyped_storage()._cdata for tensor in states)
        self._shared = {storage for storage, tensors in owners.items() if tensors > 1}
        self._switched: list[tuple[nn.Module, bool]] = []

    def begin(self) -> None:
        """Put the model into eval mode, if it is not.

        Raises:
            SyopsTypeError: a module does not let itself be put into eval mode.
        """
        if not any(module.training for module in self._model.modules()):
            return
        self._switched = [
            (module, module.training) for module in self._model.modules() if _has_own_train(module)
        ]
        try:
            self._model.eval()
        except Exception as error:
            own = [path for path, module in self._model.named_modules() if _has_own_train(module)]
            raise SyopsTypeError(
                f"{', '.join(own) or 'model'}: eval() failed ({type(error).__name__}: "
                f"{first_line(error)}), and a model is counted in eval mode; count the module that "
                "it was made of"
            ) from error

    def put_back(self) -> None:
        """Give the model back all that it had."""
        try:
            for module, training in self._switched:
                if module.training != training:  # it may do more than to set a flag
                    module.train(training)
        finally:
            for found in self._found:
                found.put_back()

    def renew(self) -> None:
        """Give the model fresh copies of its states, and reset those known how to be reset."""
        copies: dict[Any, Any] = dict.fromkeys((("shared", s) for s in self._shared), True)
        for found in self._found:
            found.put_back()
            found.lend(copies)


class _Found:
    """One module as it was found."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        attributes = vars(module)
        self._size = len(attributes)
        self._states = {name: value for name, value in attributes.items() if _is_state(name)}
        self.changeable = {name: v for name, v in self._states.items() if _is_changeable(v)}

    def put_back(self) -> None:
        attributes = vars(self._module)
        attributes.update(self._states)
        if len(attributes) != self._size:
            for name in [n for n in attributes if n not in self._states and _is_state(n)]:
                del attributes[name]

    def lend(self, copies: dict[Any, Any]) -> None:
        attributes = vars(self._module)
        for name, value in self.changeable.items():
            attributes[name] = _copied(value, copies)
        attributes["training"] = False
        _reset(self._module)


def _has_own_train(module: nn.Module) -> bool:
    return "train" in vars(module) or type(module).train is not nn.Module.train


def reset(model: nn.Module) -> None:
    """Reset the neurons that are known how to be reset."""
    for module in model.modules():
        _reset(module)


def _reset(module: nn.Module) -> None:
    own = getattr(module, "reset", None)
    if "_memories" in vars(module) and callable(own):
        own()


@cache
def _is_state(name: str) -> bool:
    """Whether an attribute of that name is neither structure nor a hook."""
    return name not in ("_parameters", "_modules") and not name.endswith(
        ("_hooks", "_with_kwargs", "_always_called")
    )


def _is_changeable(value: Any) -> bool:
    """Whether a forward pass could change the value in place."""
    if isinstance(value, Tensor):
        return not isinstance(value, nn.Parameter)
    if isinstance(value, tuple):
        return any(_is_changeable(item) for item in value)
    return type(value) in (*_MAPPINGS, list, deque, set)


_MAPPINGS = (dict, OrderedDict, defaultdict)


def _copied(value: Any, copies: dict[Any, Any]) -> Any:
    """Tensors and plain containers are copied, the same one once; other things are not."""
    if isinstance(value, nn.Parameter):
        return value
    if id(value) in copies:
        return copies[id(value)]
    copied = value
    if isinstance(value, Tensor):
        copied = _copied_tensor(value, copies)
    elif isinstance(value, _MAPPINGS) and type(value) in _MAPPINGS:
        copied = copy.copy(value)
        copied.update((key, _copied(item, copies)) for key, item in value.items())
    elif type(value) is deque:
        copied = deque((_copied(item, copies) for item in value), value.maxlen)
    elif type(value) in (list, tuple, set):
        copied = type(value)(_copied(item, copies) for item in value)
    elif isinstance(value, tuple) and hasattr(value, "_make"):
        copied = value._make(_copied(item, copies) for item in value)
    copies[id(value)] = copied
    return copied


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The tensors with a storage of their own in a state."""
    if _has_storage(value):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_of(item)
    elif isinstance(value, (list, tuple, deque)):
        for item in value:
            yield from tensors_of(item)


def _has_storage(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def _copied_tensor(tensor: Tensor, copies: dict[Any, Any]) -> Tensor:
    """A copy in which states that share memory still do."""
    if not _has_storage(tensor) or ("shared", tensor.untyped_storage()._cdata) not in copies:
        return tensor.detach().clone()
    storage = tensor.untyped_storage()
    key = "storage", storage._cdata
    if key not in copies:
        copies[key] = storage.clone()
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(copies[key], tensor.storage_offset(), tensor.size(), tensor.stride())
