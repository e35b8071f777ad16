"""Copy a model to ``meta``, where only shapes are worked out and no values."""

from __future__ import annotations

import copy
import random
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from syops._torch import (
    HOOKS,
    PRE_HOOKS,
    CustomOpDef,
    buffers_of,
    hooks_of,
    parameters_of,
)
from syops.errors import SyopsRuntimeError, first_line
from syops.ops.rule import input_tensors
from syops.trace.formulas import empty_like
from syops.trace.hooks import is_idle
from syops.trace.neurons import NeuronSignal, neuron_signal, reset, stand_still
from syops.trace.neurons.library import is_from
from syops.trace.paths import paths_of
from syops.trace.restore import Random, left_as_found
from syops.trace.shapes import on_meta
from syops.trace.states import Lending

T = TypeVar("T")


class SilentNeuron(nn.Module):
    """Stand for a known neuron where there are no values: return the same shape and dtype.

    All else is as in that class: parameters, thresholds, states that can be read and reset.
    """

    silent_signal: NeuronSignal
    """The values that the neuron gives."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        x = input_tensors(args, kwargs)[0]
        stand_still(self, x)
        return empty_like(x)


class DeclaredNeuron(SilentNeuron):
    """Stand for a neuron that the user declares: return what its ``forward`` does.

    One that cannot run without values, and is called with one tensor, stands still.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super(SilentNeuron, self).forward(*args, **kwargs)
        except Exception as error:  # whatever a kernel raises where there are no values
            if len(args) + len(kwargs) > 1:
                raise SyopsRuntimeError(
                    f"neurons: {type(self).__name__} takes states and cannot run without values "
                    f"({first_line(error)}), so that it is not known what it returns; give its "
                    "kernel a fake one (register_fake)"
                ) from error
            return super().forward(*args, **kwargs)


class Shadow:
    """Hold a copy of a model on ``meta``: its structure, without values and memory.

    Known neurons stand still; ``neurons`` run where they can. Hooks are left behind, but for those
    by which torch itself prunes weights and normalises them.

    Attributes:
        module: the copy.

    Raises:
        Exception: whatever a module raises that cannot be copied.
    """

    def __init__(self, model: nn.Module, neurons: Mapping[type, NeuronSignal]) -> None:
        self._model = weakref.ref(model)
        self._classes = _classes(model)
        shadowing = _Shadowing(model, neurons)
        self.module: nn.Module = shadowing.of(model)
        self._of_classes = [
            (kind, name, shadowing.of(value))
            for kind, name, value in _kept_by_classes(self._classes)
        ]
        self._copies = shadowing.copies()

    def twin(self) -> Shadow:
        """Return another copy of the model, as this one is now."""
        made = copy.copy(self)
        shadowing = _Shadowing(self.module, {})
        made.module = shadowing.of(self.module)
        made._of_classes = [
            (kind, name, shadowing.of(value)) for kind, name, value in self._of_classes
        ]
        made._copies = shadowing.copies()
        return made

    def run(self, work: Callable[[], T]) -> T:
        """Do some work with the copy, in eval mode and with its neurons reset.

        Nothing of the user's is touched. What classes keep of modules, such as snnTorch's list of
        all neurons, is a copy meanwhile; what else may lead to the model, while that lives, finds
        its states lent; and random generators draw afterwards what they would have drawn.
        """

        def alone() -> T:
            if user is not None:
                user.shelter()
            for kind, name, value in self._of_classes:
                setattr(kind, name, value)
            self.module.eval()
            reset(self.module.named_modules())
            return work()

        model = self._model()
        user = None if model is None else Lending(model)
        found = (Random.now(), _Classes(self._classes), *([user] if user else ()))
        return left_as_found(alone, *found)


class _Classes:
    """Remember the attributes of a model's classes, and put them back."""

    def __init__(self, classes: Sequence[type]) -> None:
        self._found = [(kind, dict(vars(kind))) for kind in classes]

    def put_back(self) -> None:
        for kind, found in self._found:
            for name in [name for name in vars(kind) if name not in found]:
                delattr(kind, name)
            for name, value in found.items():
                if vars(kind).get(name) is not value and not _is_special(name):
                    setattr(kind, name, value)


def _classes(model: nn.Module) -> list[type]:
    """Return the classes of a model's modules and their bases, but those of torch and of Python."""
    types = dict.fromkeys(map(type, paths_of(model)))
    kinds = dict.fromkeys(cls for kind in types for cls in kind.__mro__)
    return [cls for cls in kinds if not any(map(partial(is_from, cls), _WITHOUT_STATES))]


_WITHOUT_STATES = ("torch", "builtins", "typing", "abc", "collections")


def _kept_by_classes(classes: Sequence[type]) -> Iterator[tuple[type, str, Any]]:
    """Yield what a run may change of the attributes of a model's classes, or reach through them."""
    for kind in classes:
        for name, value in vars(kind).items():
            if not _is_special(name) and (
                isinstance(value, (nn.Module, *_CONTAINERS, *_GENERATORS)) or _is_numpys(value)
            ):
                yield kind, name, value


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_numpys(value: Any) -> bool:
    """Return whether a value is a random generator of numpy."""
    return is_from(type(value), "numpy.random")


_CONTAINERS = (
    *(dict, list, set, deque),
    *(weakref.WeakSet, weakref.WeakKeyDictionary, weakref.WeakValueDictionary),
)
_GENERATORS = (random.Random, torch.Generator)


class _Shadowing:
    """Make a deep copy in which tensors lie on ``meta``, neurons stand still and hooks are gone.

    ``memo`` is that of `copy.deepcopy`, which copies what is neither a module, a tensor nor a
    plain container: most of a model's attributes need no copy. Inside neurons that do not run,
    such things are shared: a kernel, say.
    """

    def __init__(self, model: nn.Module, neurons: Mapping[type, NeuronSignal]) -> None:
        self._neurons = neurons
        self._silenced: dict[tuple[type, type, NeuronSignal], type] = {}
        self.memo: dict[int, Any] = {}
        # First of all, so that whatever refers to one of them in its own way finds the copy.
        modules = paths_of(model)
        for module in modules:
            self.memo[id(module)] = object.__new__(self._class_of(module))
            for tensor in (*parameters_of(module).values(), *buffers_of(module).values()):
                if tensor is not None:
                    self.memo[id(tensor)] = on_meta(tensor)
        for module in modules:
            self._fill(module, self.memo[id(module)])

    def copies(self) -> list[Any]:
        """Return all copies, some of which are only referred to weakly."""
        own = id(self.memo)  # where `copy.deepcopy` keeps what it copied
        return [copied for key, copied in self.memo.items() if key != own]

    def _class_of(self, module: nn.Module) -> type:
        if isinstance(module, SilentNeuron):
            return type(module)
        kind, signal = type(module), neuron_signal(module, self._neurons)
        if signal is None:
            return kind
        is_known = neuron_signal(module) is not None
        return self._silent(SilentNeuron if is_known else DeclaredNeuron, kind, signal)

    def _silent(self, base: type, kind: type, signal: NeuronSignal) -> type:
        """Return a class of neurons of some kind that stand still."""
        made = self._silenced.get((base, kind, signal))
        if made is None:
            attributes = {"silent_signal": signal, "__module__": kind.__module__}
            made = type(kind.__name__, (base, kind), attributes)
            self._silenced[base, kind, signal] = made
        return made

    def _fill(self, module: nn.Module, copied: nn.Module) -> None:
        if not isinstance(copied, DeclaredNeuron):
            self._fill_in(module, copied, share=isinstance(copied, SilentNeuron))
            return
        try:
            self._fill_in(module, copied, share=False)
        except Exception:  # a kernel that cannot be copied; what shares it must not run
            if not isinstance(module, SilentNeuron):
                copied.__class__ = self._silent(SilentNeuron, type(module), copied.silent_signal)
            self._fill_in(module, copied, share=True)

    def _fill_in(self, module: nn.Module, copied: nn.Module, share: bool) -> None:
        attributes = vars(copied)
        for name, attribute in vars(module).items():
            kind = type(attribute)
            if kind in _PLAIN:
                attributes[name] = attribute
            elif kind is OrderedDict and not attribute:  # as are most of what a module registers
                attributes[name] = OrderedDict()
            elif name in (PRE_HOOKS, HOOKS):
                own = ((key, self.of(hook)) for key, hook in attribute.items() if _is_torchs(hook))
                attributes[name] = OrderedDict(own)
            else:
                attributes[name] = self.of(attribute, share)

    def of(self, value: Any, share: bool = False) -> Any:
        """Return the copy of anything; ``share`` what is neither a tensor nor a plain container."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        memo = self.memo
        if id(value) in memo:
            return memo[id(value)]
        if kind in _EMPTY and not value:
            memo[id(value)] = kind()
        elif kind in (dict, OrderedDict):
            copied = memo[id(value)] = kind()
            for key, item in value.items():
                copied[self.of(key, share)] = self.of(item, share)
        elif kind is list:
            memo[id(value)] = []
            memo[id(value)].extend(self.of(item, share) for item in value)
        elif kind is tuple:
            if _PLAIN.issuperset(map(type, value)):
                return value
            memo[id(value)] = tuple(self.of(item, share) for item in value)
        elif isinstance(value, IMMUTABLE):
            return value
        elif isinstance(value, Tensor):
            memo[id(value)] = on_meta(value)
        elif isinstance(value, nn.Module):  # one that the model does not register
            memo[id(value)] = object.__new__(type(value))
            self._fill(value, memo[id(value)])
        elif isinstance(value, weakref.ref):
            return value if value() is None else weakref.ref(self.of(value()))
        elif isinstance(value, weakref.WeakSet):
            memo[id(value)] = weakref.WeakSet(self.of(item, share) for item in list(value))
        elif isinstance(value, (weakref.WeakKeyDictionary, weakref.WeakValueDictionary)):
            items = [(self.of(k, share), self.of(v, share)) for k, v in list(value.items())]
            memo[id(value)] = type(value)(items)
        elif isinstance(value, torch.Generator):
            memo[id(value)] = value.clone_state()
        elif share:
            return value
        elif isinstance(value, FunctionType):
            return self._function(value)
        elif kind is partial:
            made = (self.of(part) for part in (value.func, value.args, value.keywords))
            function, args, keywords = made
            memo[id(value)] = partial(function, *args, **keywords)
        else:
            with _OnMeta():
                return copy.deepcopy(value, memo)
        return memo[id(value)]

    def _function(self, function: FunctionType) -> FunctionType:
        """Return the function itself, or one that refers to copies where it refers to modules."""
        cells = function.__closure__ or ()
        filled = {place: cell.cell_contents for place, cell in enumerate(cells) if _is_filled(cell)}
        defaults = *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()
        if not any(map(_refers_to_modules, (*filled.values(), *defaults))):
            return function
        closure = tuple(CellType() for _ in cells)
        copied = self.memo[id(function)] = FunctionType(
            function.__code__,
            function.__globals__,
            function.__name__,
            self.of(function.__defaults__),
            closure,
        )
        copied.__kwdefaults__ = self.of(function.__kwdefaults__)
        vars(copied).update(vars(function))
        for place, value in filled.items():
            closure[place].cell_contents = self.of(value)
        return copied


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _refers_to_modules(value: Any) -> bool:
    """Return whether a value is a module, or plainly leads to one."""
    if isinstance(value, MethodType):
        value = value.__self__
    if isinstance(value, dict):
        return any(map(_refers_to_modules, value.values()))
    if isinstance(value, (list, tuple, set, deque)):
        return any(map(_refers_to_modules, value))
    return isinstance(value, nn.Module)


IMMUTABLE = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, type, CustomOpDef)
_PLAIN = {type(None), *IMMUTABLE}
_EMPTY = {dict, list, set, OrderedDict}
"""Types of containers that are mostly empty, and then quick to copy."""


def left_behind(model: nn.Module) -> frozenset[tuple[str, str]]:
    """Return the paths of modules with hooks that a shadow does not have, and which these are."""
    return frozenset(
        (path, name)
        for path, module in model.named_modules()
        for name in (PRE_HOOKS, HOOKS)
        if not all(_is_torchs(hook) or is_idle(hook) for hook in hooks_of(module, name).values())
    )


def _is_torchs(hook: Any) -> bool:
    """Return whether a hook makes a weight of parameters (``prune``, ``weight_norm``, ...)."""
    return type(hook).__module__.startswith("torch.nn.utils.")


class _OnMeta(TorchFunctionMode):
    """Put the copies of tensors on ``meta``, wherever `copy.deepcopy` finds the tensors."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.clone:  # how parameters are copied
            return on_meta(args[0])
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            memo[id(tensor)] = on_meta(tensor)
        return memo[id(tensor)]
