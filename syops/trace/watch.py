"""See which operators are executed and which values Python reads, and tell a forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

from torch import Tensor, nn

from syops._torch import (
    DETACH,
    DispatchMode,
    HigherOrderOperator,
    OpOverload,
    identity,
    in_backward,
    is_innermost_dispatch,
    is_innermost_function,
    is_transforming,
    parts_of,
)
from syops.errors import SyopsRuntimeError
from syops.ops.registry import PARTS, Find
from syops.ops.rule import Rule, tensors_in
from syops.trace.neurons import by_parts
from syops.trace.reads import Reads, Wholes


class Listener(Protocol):
    """A forward pass, as it is told what happens in it."""

    def operator(
        self, rule: Rule | None, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Execute an operator, and return its result; ``rule``: what is known of it."""

    def read_out(self, tensor: Tensor) -> None:
        """Note that values of a tensor are about to become Python numbers."""


class Watch(DispatchMode):
    """Watch one thread.

    Operators that only call others are told as those others.

    While nobody listens, and for gradients that the model does not ask for itself, operators are
    executed and not told.

    Args:
        where: the modules that are being run, with their paths; the innermost one is the last.
        find: gives the rule of an operator.
        reads: whether tensors have values that can be read.
    """

    def __init__(self, where: Sequence[tuple[str, nn.Module]], find: Find, reads: bool) -> None:
        super().__init__()
        self.listener: Listener | None = None
        self.is_on = False
        self._where = where
        self._find = find
        run = self._whole
        self._functions = Reads(run, self._values_read) if reads else Wholes(run)
        self._detached: tuple[int, Tensor] | None = None

    @property
    def checks(self) -> bool:
        """Whether torch reads values now to check them, and lets none out."""
        return self._functions.checks

    @property
    def is_innermost(self) -> bool:
        """Whether no mode of the model's own was entered after this one."""
        return is_innermost_dispatch(self) and is_innermost_function(self._functions)

    @property
    def _hears(self) -> Listener | None:
        """The listener, if it is told: not of gradients that the model's caller asks for."""
        return None if in_backward() and len(self._where) == 1 else self.listener

    def start(self) -> None:
        """Begin to watch."""
        self._functions.__enter__()
        self.__enter__()
        self.is_on = True

    def stop(self) -> None:
        """Watch no longer, also where an interrupt came inside a neuron."""
        if self.is_on:
            self.is_on = False
            # An interrupt inside torch may have left others above: they are put back with the rest.
            if is_innermost_dispatch(self):
                self.__exit__(None, None, None)
            if is_innermost_function(self._functions):
                self._functions.__exit__(None, None, None)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        listener = self._hears
        if listener is None:
            return func(*args, **kwargs)
        detached, self._detached = self._detached, None
        if types and any(map(is_wrapper, types)):
            return NotImplemented  # what it does with the tensors inside of it is seen
        if type(func) is not OpOverload and isinstance(func, HigherOrderOperator):
            return self._by_parts(func, args, kwargs)
        rule = self._find(func)
        if rule is None or rule is PARTS:
            with self:
                out = by_parts(func, args, kwargs)
            if out is not NotImplemented:
                return out
        if func is not DETACH:
            return listener.operator(rule, func, args, kwargs)
        # The second call is on a result that has no version yet: it stands for the first.
        if detached is not None and identity(args[0]) == detached[0]:
            args = (detached[1],)
        out = listener.operator(rule, func, args, kwargs)
        self._detached = identity(out), args[0]
        return out

    def _by_parts(
        self, func: HigherOrderOperator, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run an operator on functions (cond, while_loop, ...) as the operators that it calls."""
        kernel = parts_of(func)
        if kernel is None:
            raise SyopsRuntimeError(
                f"{func.name()} in {self._where[-1][0] or 'the model'}: syops cannot watch what "
                "this operator calls; call its functions directly while you count"
            )
        with self:
            return kernel(*args, **kwargs)

    def _whole(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Tell an operator as one that would be told by its parts."""
        listener, tensors = self._hears, tensors_in((*args, *kwargs.values()))
        is_plain = all(type(tensor) in (Tensor, nn.Parameter) for tensor in tensors)
        if listener is None or not is_plain or is_transforming():
            return func(*args, **kwargs)
        self.listener = None
        try:
            return listener.operator(self._find(func), func, args, kwargs)
        finally:
            self.listener = listener

    def _values_read(self, tensor: Tensor) -> None:
        if self.listener is not None:
            self.listener.read_out(tensor)


@cache
def is_wrapper(kind: type) -> bool:
    """Return whether tensors of a class wrap others that they work with, as jagged ones do."""
    return hasattr(kind, "__tensor_flatten__")


def inside(tensor: Tensor) -> list[Tensor]:
    """Return the tensors that hold the values of a wrapper; none of any other tensor."""
    if not is_wrapper(type(tensor)):
        return []
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    inner = tensors_in(getattr(tensor, name) for name in names)
    return [part for part in inner if part.dtype == tensor.dtype]
