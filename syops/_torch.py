"""Hold every private name of torch that syops uses, each with the reason for it.

A private name may change its meaning in any release of torch. All names below were checked with
torch 2.6.0, 2.13.0 and 2.14.1: `tests/other_versions.sh` runs the counting tests on other versions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, _ops, nn, overrides
from torch._library.custom_ops import CustomOpDef as CustomOpDef
from torch._ops import HigherOrderOperator as HigherOrderOperator
from torch._ops import OpOverload as OpOverload
from torch._ops import OpOverloadPacket as OpOverloadPacket
from torch.ao.quantization import FakeQuantizeBase, ObserverBase
from torch.nn.modules import module as modules
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize
from torch.utils import _python_dispatch as dispatch
from torch.utils._pytree import tree_leaves as tree_leaves
from torch.utils._pytree import tree_map as tree_map

# What torch documents, or returns to its users, and has no public place to import from: operators,
# what `torch.library.custom_op` returns, walks through containers, and base classes.
BatchNorm = _BatchNorm
"""The base class of `nn.BatchNorm1d`, `nn.BatchNorm2d`, `nn.BatchNorm3d` and `nn.SyncBatchNorm`."""
STATISTICS = (_BatchNorm, FakeQuantizeBase, ObserverBase)
"""The modules that keep statistics of the data in buffers."""
Convolution = _ConvNd
"""The base class of `nn.Conv1d`, `nn.Conv2d`, `nn.Conv3d` and their transposed forms."""
TransposedConvolution = _ConvTransposeNd
"""The base class of `nn.ConvTranspose1d`, `nn.ConvTranspose2d` and `nn.ConvTranspose3d`."""

# Tensors


def identity(tensor: Tensor) -> int:
    """Return the address of a tensor's implementation: a key for what is known of the tensor.

    ``id(tensor)`` is not one. Torch may drop the Python object of a tensor that is still used
    inside of torch, and make another one later.
    """
    return tensor._cdata


def storage_identity(tensor: Tensor) -> int:
    """Return the address of a tensor's storage: equal for tensors that share memory.

    The address of its first byte, which is public, is 0 for every tensor on ``meta``.

    Raises:
        NotImplementedError, RuntimeError: the tensor has no storage: it is sparse, for instance.
    """
    return tensor.untyped_storage()._cdata


def version_of(tensor: Tensor) -> int:
    """Return a tensor's version: how often it, or a view of it, was written into.

    A tensor made in inference mode has no version; -1 stands for it.
    """
    return -1 if tensor.is_inference() else tensor._version


Marks = tuple[int, int, int]
"""The identity of a tensor, that of its storage, and its version."""


def marks_of(tensor: Tensor) -> Marks:
    """Return `identity`, `storage_identity` and `version_of`, sooner than one by one."""
    version = -1 if tensor.is_inference() else tensor._version
    return tensor._cdata, tensor.untyped_storage()._cdata, version


def weak_reference(tensor: Tensor) -> Any:
    """Return a reference that knows whether the tensor's implementation has ``expired()``.

    `weakref.ref` follows the Python object instead; see `identity`. While the reference exists,
    torch gives the address to no other tensor; the values are freed nevertheless.
    """
    return torch._C._WeakTensorRef(tensor)  # type: ignore[attr-defined]


# Modules


def parameters_of(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """Return a module's own table of its parameters; a write to it is a write to the module.

    `nn.Module.named_parameters` may be overridden, to hide parameters from an optimizer say, and
    leaves out names that are None.
    """
    return module._parameters


def weights_in(module: nn.Module) -> Iterator[Tensor]:
    """Yield the parameters of a module itself, wherever torch keeps them.

    Those that weights are computed of are in ``parametrizations``; a quantised layer has its
    weights in packed form.
    """
    yield from (tensor for tensor in module._parameters.values() if tensor is not None)
    if parametrize.is_parametrized(module):
        yield from module.get_submodule("parametrizations").parameters()
    is_quantised = type(module).__module__.startswith("torch.ao.nn.")
    for part in module.modules() if is_quantised else ():
        yield from packed_in(part)


def packed_in(module: nn.Module) -> Iterator[Tensor]:
    """Yield the weights and biases that a part of a quantised layer keeps in packed form."""
    for kept in vars(module).values():
        if isinstance(kept, torch.ScriptObject):
            yield from _unpacked(kept)


def _unpacked(packed: Any) -> Iterator[Tensor]:
    """Yield the weights and the biases of an object that holds them in packed form."""
    if hasattr(packed, "unpack"):
        yield from (tensor for tensor in packed.unpack() if tensor is not None)
    elif hasattr(packed, "__getstate__"):
        for part in packed.__getstate__()[0]:
            for each in part if isinstance(part, list) else ():
                if isinstance(each, Tensor):
                    yield each
                elif hasattr(each, "unpack"):
                    yield each.unpack()[0]


def buffers_of(module: nn.Module) -> dict[str, Tensor | None]:
    """Return a module's own table of its buffers; see `parameters_of`."""
    return module._buffers


def children_of(module: nn.Module) -> dict[str, nn.Module | None]:
    """Return a module's own table of its submodules; see `parameters_of`.

    `nn.Module.named_children` leaves out the second name of a submodule that has two.
    """
    return module._modules


FORWARDS = frozenset({"forward", "_conv_forward"})
"""Methods in which torch's layers apply their weights; a subclass may override either."""
COMPUTING = (
    *(*sorted(FORWARDS), "_output_padding", "_check_input_dim"),
    *("__call__", "__getattr__", "__getattribute__"),
)
"""All methods that have a part in what torch's layers return."""
APPLYING = {
    name: getattr(nn.functional, name)
    for name in (
        *("linear", "batch_norm", "pad", "conv1d", "conv2d", "conv3d"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    )
}
"""The functions by which torch's layers apply their weights."""
PARAMETERS, CHILDREN = "_parameters", "_modules"
"""Attributes of a module that are its structure."""
PRE_HOOKS, HOOKS = "_forward_pre_hooks", "_forward_hooks"
"""Attributes of a module that hold the hooks called before and after its ``forward``."""
HOOK_TABLES = (
    *("_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs"),
    *("_forward_hooks_always_called", PRE_HOOKS, HOOKS),
)
"""Attributes that hold a forward hook, or a fact about it, by the key of its handle.

The hooks themselves come last: the keys are found by them.
"""


def hooks_of(module: nn.Module, table: str) -> dict[int, Callable[..., Any]]:
    """Return one of a module's tables of hooks, `PRE_HOOKS` or `HOOKS`.

    A hook can be removed by a handle alone, which only the one who registered the hook has; and
    there is no public way to ask which hooks a module has.
    """
    found: dict[int, Callable[..., Any]] = vars(module)[table]
    return found


def has_other_hooks(module: nn.Module) -> bool:
    """Return whether more hooks run around a ``forward`` than one's own three.

    These are one before and one after that of the module, and one after that of any module.
    """
    own = module._forward_pre_hooks, module._forward_hooks, modules._global_forward_hooks
    others = (
        *(module._backward_pre_hooks, module._backward_hooks),
        *(modules._global_forward_pre_hooks, modules._global_backward_hooks),
        modules._global_backward_pre_hooks,
    )
    return any(len(hooks) != 1 for hooks in own) or any(others)


MODULE_CALL = nn.Module._call_impl.__code__
"""The code that runs around every ``forward``: its frame separates a module from its caller."""

# Modes of the running thread


class DispatchMode(dispatch.TorchDispatchMode):
    """See every operator that is executed while this mode is entered, those on functions too."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        _offer_operators_on_functions(type(self))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Answer False: torch must not load its compiler only to keep it away from a mode."""
        return False


def _offer_operators_on_functions(kind: type[DispatchMode]) -> None:
    """Register a kind of mode with each operator on functions, where modes cannot ask to see them.

    From torch 2.7 on they can: the attribute `supports_higher_order_operators` says so. Torch 2.6
    looks for a handler in a table that each operator has.
    """
    if hasattr(dispatch.TorchDispatchMode, "supports_higher_order_operators"):
        return
    for operator in _ops._higher_order_ops.values():
        operator.python_key_table.setdefault(kind, partial(_handed_to_a_mode, operator))


def _handed_to_a_mode(operator: Any, mode: DispatchMode, *args: Any, **kwargs: Any) -> Any:
    return mode.__torch_dispatch__(operator, (), args, kwargs)


def is_innermost_dispatch(mode: DispatchMode) -> bool:
    """Return whether a mode is the one that sees an operator first: only that one can be left."""
    return dispatch._get_current_dispatch_mode() is mode


def is_innermost_function(mode: overrides.TorchFunctionMode) -> bool:
    """Return whether a mode is the one that sees a function first: only that one can be left."""
    return overrides._get_current_function_mode() is mode


@contextmanager
def unwatched() -> Iterator[None]:
    """Execute operators for oneself: neither modes nor subclasses of tensors see them."""
    with dispatch._disable_current_modes(), torch._C.DisableTorchFunction():
        yield


# What a dispatch mode keeps in globals besides the stack that it stands on.
_FLAGS = (
    "_is_in_torch_dispatch_mode",
    "_is_in_non_infra_torch_dispatch_mode",
    "_is_in_any_mode_without_ignore_compile_internals",
)
_COMPILER = "torch._dynamo.eval_frame"


class Awaiting(MetaPathFinder, Loader):
    """Call ``then`` when torch's compiler is loaded.

    `torch.cond` and the like load it when they are first called, in the middle of a forward pass,
    and compile at once.
    """

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then
        self._loader: Any = None

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == "torch._dynamo" else None
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
        with dispatch._disable_current_modes():  # what is computed meanwhile is not the model's
            self._loader.exec_module(module)
        self._then()

    @staticmethod
    def all() -> list[Awaiting]:
        """Return those that wait now."""
        return [finder for finder in sys.meta_path if isinstance(finder, Awaiting)]


@dataclass(frozen=True)
class Modes:
    """Remember the modes of this thread, and put them back.

    Torch's own context managers put modes back as well, unless an interrupt comes inside of one of
    them. There is no public way to ask how many modes are entered.
    """

    dispatch: int
    function: int
    flags: dict[str, Any]
    grad: bool | None
    """None: not to be put back, as it is the user's."""
    fast_attention: bool
    stance: Any
    awaiting: list[Awaiting]

    @classmethod
    def now(cls) -> Modes:
        return cls(
            torch._C._len_torch_dispatch_stack(),
            torch._C._len_torch_function_stack(),
            {name: getattr(dispatch, name) for name in _FLAGS if hasattr(dispatch, name)},
            torch.is_grad_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
            # The compiler is not loaded to ask whether it was told to stand aside.
            getattr(sys.modules.get(_COMPILER), "_stance", None),
            Awaiting.all(),
        )

    def put_back(self) -> None:
        """Pop the modes that were pushed since, and set the rest as it was; safe to repeat."""
        while torch._C._len_torch_dispatch_stack() > self.dispatch:
            dispatch._pop_mode()
        while torch._C._len_torch_function_stack() > self.function:
            overrides._pop_mode()
        for name, value in self.flags.items():
            setattr(dispatch, name, value)
        tell = getattr(dispatch, "set_is_in_mode_without_ignore_compile_internals", None)
        if tell is not None:  # the same flag, where torch's compiled part reads it
            tell(self.flags[_FLAGS[2]])
        if self.grad is not None:
            torch._C._set_grad_enabled(self.grad)
        torch.backends.mha.set_fastpath_enabled(self.fast_attention)
        for finder in Awaiting.all():
            if finder not in self.awaiting:
                sys.meta_path.remove(finder)
        compiler: Any = sys.modules.get(_COMPILER)
        if compiler is not None:
            compiler._stance = self.stance or compiler.DynamoStance()


def in_backward() -> bool:
    """Return whether this thread computes gradients now.

    Operators and modules that are run there are not part of a forward pass, also those that a
    checkpoint runs once more, unless the forward itself asks for gradients. There is no public way
    to ask.
    """
    return torch._C._current_graph_task_id() != -1


def is_transforming() -> bool:
    """Return whether code runs that `torch.vmap` or `torch.func` transforms.

    Tensors stand for others there. There is no public way to ask.
    """
    return torch._C._functorch.peek_interpreter_stack() is not None


def before_all_forward_hooks(hook: Callable[..., Any]) -> None:
    """Register a hook that is called before all others when a ``forward`` returns or fails.

    Hooks for all modules run before those of a module, in the order of a private table.
    """
    key = modules.register_module_forward_hook(hook, always_call=True).id
    modules._global_forward_hooks.move_to_end(key, last=False)  # type: ignore[attr-defined]


def without_forward_hook(hook: Callable[..., Any]) -> None:
    """Remove a hook for all modules, if it is there; its handle may have been lost.

    The table by which it is found is the last, so that it can be removed after an interrupt.
    """
    for key, held in list(modules._global_forward_hooks.items()):
        if held == hook:
            modules._global_forward_hooks_always_called.pop(key, None)
            modules._global_forward_hooks.pop(key, None)


# Operators


def schema_of(operator: Any) -> Any:
    """Return an operator's schema: its name, arguments and results.

    `torch.library` and the documentation print schemas; only this attribute gives one.
    """
    return operator._schema


def has_kernel(operator: Any, key: str) -> bool:
    """Return whether an operator has a kernel of its own for a dispatch key ("CPU", say)."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), key)


DETACH = torch.ops.aten.detach.default
"""The operator that torch 2.6 executes twice, the second time on the result of the first."""


def is_made_of_others(operator: Any) -> bool:
    """Return whether torch runs an operator as others that it calls, which then do the work.

    Not where a device has a kernel of its own for it.
    """
    return has_kernel(operator, "CompositeImplicitAutograd") and not (
        has_kernel(operator, "CPU") or has_kernel(operator, "CUDA")
    )


def can_be_taken_apart(operator: Any) -> bool:
    """Return whether there is a form of an operator, in C++ or in Python, that calls others."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return key in operator.py_kernels or has_kernel(operator, key.name)


def run_on_cpu(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator's CPU kernel, whatever device its tensors are on."""
    return operator._op_dk(torch._C.DispatchKey.CPU, *args, **kwargs)


def parts_of(operator: HigherOrderOperator) -> Callable[..., Any] | None:
    """Return the eager kernel of an operator on functions, which calls other operators.

    Called through the operator itself, the kernel runs where no mode sees what it calls. None for
    an operator without such a kernel.
    """
    if operator.name() == "cond":  # its own way refuses to run below a mode
        return _cond
    return operator.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd)


def _cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any
) -> Any:
    return true_fn(*operands) if pred else false_fn(*operands)


def compiler_is_loaded() -> bool:
    """Return whether anything can have been compiled. To load the compiler takes a second."""
    return "torch._dynamo" in sys.modules


_NUMBERS = {
    *("IntType", "FloatType", "BoolType", "NumberType", "ComplexType", "StringType"),
    *("SymBoolType", "DeviceObjType", "GeneratorType", "NoneType", "QSchemeType", "StreamObjType"),
}
"""Types in operators' schemas that hold no data."""


def reads_only_numbers(schema: Any) -> bool:
    """Return whether no argument can hold data, apart from those that are written into."""
    return all(_is_number(argument.type) for argument in schema.arguments if not argument.is_out)


def returns_only_numbers(schema: Any) -> bool:
    """Return whether no result of an operator can hold data."""
    return all(_is_number(returned.type) for returned in schema.returns)


def _is_number(kind: Any) -> bool:
    if kind.kind() in ("OptionalType", "ListType"):
        return _is_number(kind.getElementType())
    return kind.kind() in _NUMBERS


def operators_of(namespace: str) -> list[Any]:
    """Return all operator overloads of a namespace that torch's dispatcher knows, by name.

    ``dir(torch.ops.aten)`` lists only those that something in Python has asked for.
    """
    names = torch._C._dispatch_get_all_op_names()
    found = []
    for name in sorted(name for name in names if name.startswith(f"{namespace}::")):
        base, _, overload = name.partition("::")[2].partition(".")
        packet = getattr(getattr(torch.ops, namespace), base)
        found.append(getattr(packet, overload or "default"))
    return found


def overload_of(operator: Any) -> Any:
    """Return the overload behind what ``torch.library.custom_op`` returned; else the operator."""
    return operator._opoverload if isinstance(operator, CustomOpDef) else operator
