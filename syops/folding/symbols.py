"""The same on symbols, where there are no example inputs: both ways of a branch are followed."""

import dis
import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from inspect import Parameter
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn

from syops.folding.flow import METADATA, SIZE_MOVES, Flow, spatial_dims, tensors_of

_MAX_PATHS = 100  # through a forward pass that branches on symbols
_MAX_BRANCHES = 2_000  # on one of them: more is a loop without an end


class SymbolicFlow(Flow):
    """The same without inputs, on every path that the forward pass can take."""

    hint = "; pass example inputs to decide"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.signature = inspect.signature(self.model.forward)
        for path, module in self.model.named_modules():
            module.forward = partial(self.forward, module, path, module.forward)
        self.found = {module: dict(vars(module)) for module in self.model.modules()}
        self.script: list[int] = []  # which way to take at the first branches
        self.taken: dict[tuple[CodeType, int], tuple[int, int]] = {}  # at a place: way, of how many
        self.last: CodeType | None = None  # whose code branched last
        self.branches = 0
        self.sampled = False  # whether some size had to be a number

    def explore(self) -> None:
        """Follow every path; one that ends in an error of the model's own says nothing."""
        completed = False
        for _ in range(_MAX_PATHS):
            for module, state in self.found.items():
                vars(module).clear()
                vars(module).update(state)
            self.values.clear()
            self.taken, self.branches, self.inside = {}, 0, 0
            try:
                self.run(*self.arguments())
                completed = True
            except Exception as error:
                why = error
            ways = list(self.taken.values())
            while ways and ways[-1][0] + 1 == ways[-1][1]:
                ways.pop()
            if not ways:
                break
            self.script = [way for way, _ in ways[:-1]] + [ways[-1][0] + 1]
        else:
            why, completed = ValueError("it branches too often"), False
        if completed and self.sampled and self.norms.keys() - self.sources.keys():
            why, completed = ValueError("sizes may decide which modules are called"), False
        if not completed:
            self.ban(self.model, "", why)

    def arguments(self) -> tuple[tuple, dict[str, Any]]:
        """Symbols for the arguments that the model requires."""
        names: dict[Any, list[str]] = defaultdict(list)
        for each in self.signature.parameters.values():
            if each.default is each.empty:
                names[each.kind].append(each.name)
        args = names[Parameter.POSITIONAL_ONLY] + names[Parameter.POSITIONAL_OR_KEYWORD]
        args = args or names[Parameter.VAR_POSITIONAL]
        keywords = names[Parameter.KEYWORD_ONLY]
        return tuple(self.symbol() for _ in args), {name: self.symbol() for name in keywords}

    def forward(
        self, module: nn.Module, path: str, run: Callable, *args: Any, **kwargs: Any
    ) -> Any:
        """Stands in for every module's forward pass: only those that call watched ones do run."""
        if module in self.paths:
            if not self.inside:  # ``conv.forward(x)``, past the hooks
                self.use(path, list(module.parameters()))
            return self.symbol()
        if type(module) is nn.Identity:
            return run(*args, **kwargs)
        if any(inner in self.paths for inner in module.modules()):
            try:
                return run(*args, **kwargs)
            except Exception as error:
                if self.raised_by_model(error):
                    raise
                self.inside = 0
                self.ban(module, path, error)
        self.use(path, (args, kwargs))
        return self.symbol()

    def ban(self, module: nn.Module, path: str, error: Exception) -> None:
        """`module` cannot be followed: it may do anything with the modules inside."""
        why = (str(error).splitlines() or [type(error).__name__])[0]
        for inner in module.modules():
            self.banned.setdefault(
                inner, f"without example inputs, {path or 'the model'} cannot be followed: {why}"
            )

    def raised_by_model(self, error: Exception) -> bool:
        """Whether `error` comes from a ``raise`` in code that branched on a symbol just before.

        Any other error may be there only because a symbol is not a tensor.
        """
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        if trace is None or trace.tb_frame.f_code is not self.last:
            return False
        return _instruction(self.last, trace.tb_lasti).opname == "RAISE_VARARGS"

    def shapes(self, synapse: nn.Module, out: Tensor) -> tuple[tuple[int, ...], ...]:
        """With each rank that `out` may have; no size tells anything, nor do products of them."""
        spatial = spatial_dims(synapse)
        leading = range(2 if spatial else 6)
        if spatial and getattr(synapse, "step_mode", "s") == "m":
            leading = range(2, 3)
        sizes = (3, 5, 7, 11, 13)
        return tuple((*sizes[:n], 2, *sizes[n : n + spatial]) for n in leading)

    def operate(self, name: str, leaves: list[Any], func: Callable) -> Any:
        if not any(isinstance(leaf, _Unknown) for leaf in leaves):
            return super().operate(name, leaves, func)
        return _Size(self) if name in METADATA else self.symbol()

    def dispatch(self, name: str, inputs: list[Tensor]) -> None:
        if any(isinstance(x, _Symbol) for x in inputs):
            raise ValueError("its input goes to C++ code")
        super().dispatch(name, inputs)

    def symbol(self) -> "_Symbol":
        symbol = torch.empty(0, device="meta").as_subclass(_Symbol)
        symbol.flow = self
        return symbol

    def move(self, name: str, move: Callable) -> Callable | None:
        return _unknown_move if name in SIZE_MOVES else super().move(name, move)

    def branch(self, ways: Sequence[Any]) -> Any:
        """One of `ways`, the same each time at one place of the code, and each on one path."""
        self.branches += 1
        if self.branches > _MAX_BRANCHES:
            raise ValueError("it loops until its input says otherwise")
        frame, step = _caller(), len(self.taken)
        self.last, place = frame.f_code, (frame.f_code, frame.f_lasti)
        if place not in self.taken:
            way = self.script[step] if step < len(self.script) else 0
            self.taken[place] = way, len(ways)
        return ways[self.taken[place][0]]

    def two(self) -> int:
        """A number where one is needed: a loop does twice what it does, as the model is called."""
        self.sampled = True
        return 2

    def unpacked(self, whole: Any) -> Any:
        """In ``T, N = x.shape`` the code tells how many are wanted."""
        frame = _caller()
        step = _instruction(frame.f_code, frame.f_lasti)
        count = step.argval if step.opname == "UNPACK_SEQUENCE" else self.two()
        return iter([whole[n] for n in range(count)])


def _unknown_move(x: Tensor) -> Tensor:
    raise ValueError("the sizes are not known")


def _instruction(code: CodeType, offset: int) -> dis.Instruction:
    return next(each for each in dis.get_instructions(code) if each.offset == offset)


def _caller() -> FrameType:
    """The innermost frame of the model's code."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"] in (
        __name__, "torch._tensor", "torch.overrides",
    ):  # fmt: skip
        frame = frame.f_back
    return frame


class _Unknown:
    flow: SymbolicFlow
    __hash__ = None  # type: ignore[assignment]  # a set or dict would not ask for ``==``

    def __bool__(self) -> bool:
        return self.flow.branch((False, True))

    def __iter__(self) -> Any:
        return self.flow.unpacked(self)


class _Symbol(_Unknown, Tensor):  # type: ignore[misc]
    """Stands for a tensor; every operator on it is left to the flow."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __len__(self) -> int:
        return self.flow.two()

    def __index__(self) -> int:
        raise ValueError("it depends on the values of its input")

    __int__ = __float__ = __index__


class _Size(_Unknown):
    """Stands for a size, shape, data type or the like."""

    def __init__(self, flow: SymbolicFlow) -> None:
        self.flow = flow

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError  # operators look for it; the flow comes first

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Size(self.flow)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _Size(self.flow)

    def __len__(self) -> int:
        return self.flow.branch(range(1, 7))  # of a shape: the number of dimensions

    def __index__(self) -> int:
        return self.flow.two()


def _operator(self: _Size, *others: Any) -> Any:
    return NotImplemented if tensors_of(others) else _Size(self.flow)


for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv",
    "mod", "rmod", "pow", "rpow", "neg", "abs", "eq", "ne", "lt", "le", "gt", "ge", "getitem",
):  # fmt: skip
    setattr(_Size, f"__{_name}__", _operator)
