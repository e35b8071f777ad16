"""Torch's modes of the running thread: private names, each with why it is needed.

Checked with torch 2.13.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

import torch
from torch import overrides
from torch._library.custom_ops import CustomOpDef
from torch._ops import HigherOrderOperator
from torch.nn.modules import module as modules
from torch.utils import _python_dispatch as dispatch

# What a dispatch mode keeps in globals besides the stack that it stands on.
_FLAGS = (
    "_is_in_torch_dispatch_mode",
    "_is_in_non_infra_torch_dispatch_mode",
    "_is_in_any_mode_without_ignore_compile_internals",
)
_COMPILER = "torch._dynamo.eval_frame"


class Awaiting(MetaPathFinder, Loader):
    """Calls ``then`` when torch's compiler is loaded.

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
        self._loader.exec_module(module)
        self._then()

    @staticmethod
    def all() -> list[Awaiting]:
        """Those that wait now."""
        return [finder for finder in sys.meta_path if isinstance(finder, Awaiting)]


@dataclass(frozen=True)
class Modes:
    """The modes of this thread as they were found.

    Torch's own context managers put them back as well, but for an interrupt that comes inside
    of one of them.
    """

    dispatch: int
    function: int
    flags: dict[str, Any]
    grad: bool
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
        """Pop what was pushed since, and set the rest as it was. Does no harm twice."""
        while torch._C._len_torch_dispatch_stack() > self.dispatch:
            dispatch._pop_mode()
        while torch._C._len_torch_function_stack() > self.function:
            overrides._pop_mode()
        for name, value in self.flags.items():
            setattr(dispatch, name, value)
        tell = getattr(dispatch, "set_is_in_mode_without_ignore_compile_internals", None)
        if tell is not None:  # the same flag, where torch's compiled part reads it
            tell(self.flags[_FLAGS[2]])
        torch._C._set_grad_enabled(self.grad)
        torch.backends.mha.set_fastpath_enabled(self.fast_attention)
        for finder in Awaiting.all():
            if finder not in self.awaiting:
                sys.meta_path.remove(finder)
        compiler: Any = sys.modules.get(_COMPILER)
        if compiler is not None:
            compiler._stance = self.stance or compiler.DynamoStance()


def before_all_forward_hooks(hook: Callable[..., Any]) -> None:
    """Have a hook called when the ``forward`` of any module returns or fails, before all others.

    Hooks for all modules run before those of a module, in the order of this private table.
    """
    key = modules.register_module_forward_hook(hook, always_call=True).id
    modules._global_forward_hooks.move_to_end(key, last=False)  # type: ignore[attr-defined]


def without_forward_hook(hook: Callable[..., Any]) -> None:
    """Take a hook for all modules off again, if it is there."""
    for key, held in list(modules._global_forward_hooks.items()):
        if held == hook:
            modules._global_forward_hooks.pop(key, None)
            modules._global_forward_hooks_always_called.pop(key, None)


def parts_of(operator: HigherOrderOperator) -> Callable[..., Any] | None:
    """How an operator on functions runs eagerly, by calling other operators; None if it has no way.

    Called through the operator itself, that would happen where no mode sees it.
    """
    if operator.name() == "cond":  # its own way refuses to run below a mode
        return _cond
    return operator.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd)


def _cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any
) -> Any:
    return true_fn(*operands) if pred else false_fn(*operands)


def compiler_is_loaded() -> bool:
    """Whether anything can have been compiled. Loading it takes a second, so it is only asked."""
    return "torch._dynamo" in sys.modules


_NUMBERS = {
    *("IntType", "FloatType", "BoolType", "NumberType", "ComplexType", "StringType"),
    *("SymBoolType", "DeviceObjType", "GeneratorType", "NoneType", "QSchemeType", "StreamObjType"),
}
"""Types in operators' schemas that hold no data."""


def reads_only_numbers(schema: Any) -> bool:
    """Whether an operator takes nothing that can hold data, but for what it writes to."""
    return all(_is_number(argument.type) for argument in schema.arguments if not argument.is_out)


def returns_only_numbers(schema: Any) -> bool:
    """Whether an operator returns nothing that can hold data."""
    return all(_is_number(returned.type) for returned in schema.returns)


def _is_number(kind: Any) -> bool:
    if kind.kind() in ("OptionalType", "ListType"):
        return _is_number(kind.getElementType())
    return kind.kind() in _NUMBERS


def operators_of(namespace: str) -> list[Any]:
    """All operator overloads of a namespace that torch's dispatcher knows, in order of names.

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
    """The overload that ``torch.library.custom_op`` made, of what it returned; else as it is."""
    return operator._opoverload if isinstance(operator, CustomOpDef) else operator
