"""Fusion of batch norms into the convolution or linear layer before them (Appendix A).

    W' = gamma / sigma * W,   B' = (B - mu) * gamma / sigma + beta,   sigma = sqrt(var + eps)

(Eq. 16 and 17, with the bias B of the layer where it has one). That is right only where the norm
gets the output of that layer, along its channels, and nothing else gets it. The order in which
modules are defined does not tell. So the model's forward pass is followed: on example inputs where
they are given, else on symbols. A pair that this does not prove is left alone, with the reason.
"""

import copy
import dis
import inspect
import sys
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import Parameter
from types import CodeType, FrameType
from typing import Any

import torch
from spikingjelly.activation_based import base, layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from syops.errors import ForwardError, SyopsTypeError, SyopsValueError


def _classes(*names: str) -> tuple[type, ...]:
    return tuple(getattr(lib, n) for lib in (nn, layer) for n in names if hasattr(lib, n))


# Exact types: a subclass may use its weights in another way (WSConv2d, parametrizations).
_TRANSPOSED = _classes(*(f"ConvTranspose{n}d" for n in (1, 2, 3)))
_SYNAPSES = _TRANSPOSED + _classes("Linear", *(f"Conv{n}d" for n in (1, 2, 3)))
_NORMS = _classes(
    *(f"{kind}BatchNorm{n}d" for kind in ("", "ThresholdDependent") for n in (1, 2, 3)),
    "SyncBatchNorm",
)

# Operators that read no values, and those that only move them: by axis alone, or by sizes too.
_METADATA = frozenset((
    "shape", "size", "dim", "ndim", "ndimension", "dtype", "device", "numel", "nelement", "layout",
    "stride", "is_cuda", "is_contiguous", "is_floating_point", "requires_grad", "__len__",
))  # fmt: skip
_AXIS_MOVES = frozenset((
    "transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis", "t", "T", "mT",
    "flatten", "unsqueeze", "contiguous", "clone", "detach",
))  # fmt: skip
_SIZE_MOVES = frozenset((
    "view", "reshape", "unflatten", "squeeze", "select", "narrow", "expand", "repeat",
    "__getitem__",
))  # fmt: skip

_MAX_PATHS = 100  # through a forward pass that branches on symbols
_MAX_BRANCHES = 2_000  # on one of them: more is a loop without an end


@dataclass(frozen=True)
class FoldPlan:
    """Which norms `fold_bn` fuses into which layer, and why not the others; all by module path.

    `dims`: the numbers of dimensions of a folded norm's input for which this is proven.
    """

    folded: tuple[tuple[str, str], ...]
    unfolded: dict[str, str]
    dims: dict[str, frozenset[int]]

    def __str__(self) -> str:
        folded = [f"{norm}: folded into {synapse}" for synapse, norm in self.folded]
        return "\n".join(folded + [f"{norm}: {why}" for norm, why in self.unfolded.items()])


def fold_bn(model: nn.Module, inputs: Any = None) -> nn.Module:
    """Return a copy of `model` in eval mode with batch norms fused into the layers before them.

    A fused norm is an `nn.Identity` in the copy; `model` stays as it is. Fused is what
    ``plan_folding(model, inputs)`` says, on the same arguments and with the same errors; one
    warning tells of the norms that are left. Eq. 16 and 17.
    """
    plan = plan_folding(model, inputs)
    if plan.unfolded:
        left = "\n".join(f"  {norm}: {why}" for norm, why in plan.unfolded.items())
        warnings.warn(f"{len(plan.unfolded)} batch norms were not folded:\n{left}", stacklevel=2)
    modules = dict(model.named_modules())
    identities = {id(modules[n]): _identity(modules[n], plan.dims[n]) for _, n in plan.folded}
    folded = _copy(model, identities).eval()
    for synapse, norm in plan.folded:
        _fuse(folded.get_submodule(synapse), modules[norm])
    return folded


def plan_folding(model: nn.Module, inputs: Any = None) -> FoldPlan:
    """Tell which batch norms `fold_bn` fuses, and why it leaves the others.

    `inputs` is what `model` is called with: a tensor, a tuple (arguments) or a dict (keyword
    arguments). A copy of the model runs on them, twice in a row, as a stateful model may do other
    things at its second step; the plan holds for what these calls do.

    Without `inputs`, required arguments are symbols and the others have their defaults. Where the
    forward pass branches on a symbol, both ways are followed; a loop over one runs twice, so what
    it does at a fixed later step alone is not seen. What cannot be followed is not folded.

    Raises `SyopsTypeError` for what is no `nn.Module`, is scripted or cannot be copied, and for
    `inputs` of another type; `ForwardError` where the model fails on `inputs`.
    """
    if not isinstance(model, nn.Module):
        raise SyopsTypeError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise SyopsTypeError("model: a scripted module cannot be looked into; pass the original")
    flow: _Flow
    if inputs is None:
        flow = _SymbolicFlow(model)
        flow.explore()
    else:
        args, kwargs = _arguments(inputs)
        flow = _Flow(model)
        try:
            flow.run(args, kwargs)
        except Exception as error:
            raise ForwardError(f"model: it failed on the example inputs: {error}") from error
    folded: list[tuple[str, str]] = []
    unfolded: dict[str, str] = {}
    dims: dict[str, frozenset[int]] = {}
    for norm, path in flow.norms.items():
        synapse, why = flow.partner(norm)
        if synapse is None:
            unfolded[path] = why
        else:
            folded.append((flow.paths[synapse], path))
            dims[path] = flow.dims[norm]
    return FoldPlan(tuple(folded), unfolded, dims)


def _arguments(inputs: Any) -> tuple[tuple, dict[str, Any]]:
    if isinstance(inputs, dict):
        return (), inputs
    if isinstance(inputs, (Tensor, tuple)):
        return inputs if isinstance(inputs, tuple) else (inputs,), {}
    raise SyopsTypeError(
        "inputs: expected a tensor, a tuple (arguments) or a dict (keyword arguments), "
        f"got {type(inputs).__name__}"
    )


# --- fusing ---------------------------------------------------------------------------------------


class _CheckedIdentity(nn.Identity):
    """In place of a norm that takes [N, C] and [N, C, L], folded for only one of them."""

    def __init__(self, dims: frozenset[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() not in self.dims:
            raise SyopsValueError(
                f"a batch norm folded for {sorted(self.dims)} dimensions got {x.dim()}: "
                "fold the model with example inputs of this kind"
            )
        return x


def _identity(norm: nn.Module, dims: frozenset[int]) -> nn.Identity:
    taken = {n for n in range(2, 8) if _takes(norm, torch.empty((2,) * n, device="meta"))}
    return nn.Identity() if taken == dims else _CheckedIdentity(dims)


def _output_first(weight: Tensor, groups: int) -> Tensor:
    """[C_in, C_out / groups, ...] of a transposed convolution <-> [C_out, C_in / groups, ...]."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def _fuse(synapse: Any, norm: Any) -> None:
    weight, transposed = synapse.weight, type(synapse) in _TRANSPOSED
    # The formula is that of a linear layer too, and this function takes affine=False as well.
    fused, synapse.bias = fuse_conv_bn_weights(
        _output_first(weight, synapse.groups) if transposed else weight,
        *(synapse.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias),
    )
    synapse.weight = nn.Parameter(
        _output_first(fused, synapse.groups) if transposed else fused, weight.requires_grad
    )


def _copy(model: nn.Module, replaced: dict[int, Any]) -> nn.Module:
    """A deep copy with the objects of these ids `replaced` wherever they are referred to."""
    memo = dict(replaced)
    for value in tree_leaves([vars(module) for module in model.modules()]):
        # A state left by a forward pass with gradients: deepcopy refuses those.
        if isinstance(value, Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise SyopsTypeError(f"model: folding works on a copy, which fails: {error}") from error


# --- following a forward pass ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Value:
    """What is known of a tensor: it is the output of `source`, with its elements moved around."""

    source: nn.Module
    shapes: tuple[tuple[int, ...], ...]  # that it may have had before the moves
    moves: tuple[Callable[[Tensor], Tensor], ...] = ()


class _Flow(TorchFunctionMode):
    """What becomes of the outputs of a model's synaptic modules in its forward pass.

    Follows a copy of the model. The user's hooks do not run: they may reach the user's own data.
    """

    hint = ""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        hooks = [vars(m)[k] for m in model.modules() for k in vars(nn.Module()) if "hooks" in k]
        self.model = _copy(model, {id(each): _torchs_own(each) for each in hooks}).eval()
        modules = {module: path for path, module in self.model.named_modules()}
        self.norms = {m: path for m, path in modules.items() if isinstance(m, _BatchNorm)}
        self.paths = {
            m: path
            for m, path in modules.items()
            if type(m) in _SYNAPSES + _NORMS and "forward" not in vars(m)
        }
        self.owners: dict[int, set[nn.Module]] = defaultdict(set)  # of parameters and buffers
        self.values = WeakIdKeyDictionary()  # tensor: _Value
        self.sources: dict[nn.Module, set[Any]] = defaultdict(set)  # of norms
        self.sinks: dict[nn.Module, set[Any]] = defaultdict(set)  # of synaptic modules
        self.dims: dict[nn.Module, frozenset[int]] = {}
        self.banned: dict[nn.Module, str] = {}
        self.inside = 0  # how deep in modules of `paths`
        self.seen: list[Any] = []  # what the operator that is being executed was given
        for module in modules:
            if type(module) is layer.TLastSeqToANNContainer:
                # It uses torch.vmap; in eval mode, its steps can as well be run one by one.
                module.forward = partial(_step_by_step, module)
        for module in self.paths:
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                self.owners[id(tensor)].add(module)
            module.register_forward_pre_hook(self.enter, with_kwargs=True)
            module.register_forward_hook(self.leave, with_kwargs=True)
        for path, module in model.named_modules():
            if module._forward_hooks or module._forward_pre_hooks:
                # What the user's hook sees, folding would change.
                self.model.get_submodule(path).register_forward_hook(
                    lambda _, a, k, out, path=path: self.use(f"a hook on {path}", (a, k, out)),
                    with_kwargs=True,
                )

    def run(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Call the model twice in a row."""
        for module in self.model.modules():
            if isinstance(module, base.MemoryModule):
                module.reset()
        outputs = []
        devices = range(torch.cuda.device_count())
        with torch.no_grad(), torch.random.fork_rng(devices), self, _Dispatch(self):
            for _ in range(2):
                own_args, own_kwargs = tree_map(
                    lambda x: x.clone() if isinstance(x, Tensor) else x, (args, kwargs)
                )
                try:
                    outputs.append(self.model(*own_args, **own_kwargs))
                except Exception:
                    if not outputs:
                        raise
                    break  # it takes one call between resets
        self.use("what the model returns or keeps", list(self.values))

    def enter(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self.inside += 1
        if torch._C._are_functorch_transforms_active():
            self.banned[module] = "it runs inside of a torch.func transform"
        inputs = _tensors((args, kwargs))
        if type(module) in _SYNAPSES:
            self.use(self.paths[module], inputs)
        else:
            value = self.values.get(inputs[0])
            self.sources[module].add(value.source if value else None)
            if value:
                self.sinks[value.source].add(module)
                dims = _fitting_dims(value, module)
                self.dims[module] = self.dims.get(module, dims) & dims

    def leave(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], out: Tensor) -> None:
        if type(module) in _SYNAPSES:
            self.values[out] = _Value(module, self.shapes(module, out))
        self.inside -= 1

    def shapes(self, synapse: nn.Module, out: Tensor) -> tuple[tuple[int, ...], ...]:
        return (tuple(out.shape),)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # The getter of a property is bound to what has the name of the property.
        name = func.__self__.__name__ if func.__name__ == "__get__" else func.__name__
        rest, kwargs = args[1:], kwargs or {}
        leaves = tree_leaves((args, kwargs))
        inputs = _tensors(leaves)
        out = self.operate(name, leaves, partial(func, *args, **kwargs))
        if self.inside or name in _METADATA:
            return out
        value = self.values.get(args[0]) if args and isinstance(args[0], Tensor) else None
        move = self.move(name, lambda x: func(x, *rest, **kwargs))
        if value and move and isinstance(out, Tensor):
            self.use(name, inputs[1:])
            self.values[out] = replace(value, moves=(*value.moves, move))
        else:
            self.use(name, inputs)
        return out

    def operate(self, name: str, leaves: list[Any], func: Callable) -> Any:
        self.seen = leaves
        try:
            return func()
        finally:
            self.seen = []

    def dispatch(self, name: str, inputs: list[Tensor]) -> None:
        """What comes from C++ code (torch.func, autograd.Function) past `__torch_function__`."""
        if not self.inside:
            self.use(name, [x for x in inputs if not any(x is seen for seen in self.seen)])

    def move(self, name: str, move: Callable) -> Callable | None:
        """`move`, if all that the operator does is to move the elements of its first argument."""
        return move if name in _AXIS_MOVES | _SIZE_MOVES else None

    def use(self, what: str, tree: Any) -> None:
        """`what` does something else with the tensors in `tree`."""
        for tensor in _tensors(tree):
            for module in self.owners.get(id(tensor), ()):
                self.banned[module] = f"the parameters of {self.paths[module]} are used elsewhere"
            if value := self.values.get(tensor):
                self.sinks[value.source].add(what)

    def partner(self, norm: nn.Module) -> tuple[nn.Module | None, str]:
        """The synaptic module that `norm` is to be fused into; or None, and why not."""
        if norm not in self.paths:
            return None, f"{type(norm).__name__} is not known to be a plain batch norm"
        if norm.running_mean is None:
            return None, "it normalises with batch statistics (track_running_stats=False)"
        if norm in self.banned:
            return None, self.banned[norm]
        if norm not in self.sources:
            return None, "it is not called in the forward pass"
        sources = {source: self.paths.get(source) for source in self.sources[norm]}
        if None in sources:
            return None, f"its input is not the bare output of a convolution or linear{self.hint}"
        if len(sources) > 1:
            return None, f"several layers share it: {_listed(sources.values())}"
        ((source, path),) = sources.items()
        if source in self.banned:
            return None, self.banned[source]
        others = {self.paths.get(sink, sink) for sink in self.sinks[source] - {norm}}
        if others:
            return None, f"the output of {path} also goes to {_listed(others)}"
        if not self.dims[norm]:
            return None, f"it does not normalise the channels of {path}{self.hint}"
        return source, ""


class _Dispatch(TorchDispatchMode):
    def __init__(self, flow: _Flow) -> None:
        super().__init__()
        self.flow = flow

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.flow.dispatch(str(func), _tensors((args, kwargs)))
        return func(*args, **kwargs)


def _torchs_own(hooks: dict[int, Any]) -> dict[int, Any]:
    """Those that make a module's weights (weight_norm, prune)."""
    own = (item for item in hooks.items() if type(item[1]).__module__.startswith("torch.nn.utils"))
    return OrderedDict(own)


def _step_by_step(container: Any, x: Tensor) -> Tensor:
    steps = range(x.shape[-1])
    return torch.stack([nn.Sequential.forward(container, x[..., t]) for t in steps], dim=-1)


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(sorted(names))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _axis(norm: nn.Module) -> int:
    return 2 if getattr(norm, "step_mode", "s") == "m" else 1


def _takes(norm: Any, x: Tensor) -> bool:
    """Whether the norm accepts the number of dimensions of `x`."""
    if x.dim() <= _axis(norm):
        return False
    try:
        norm._check_input_dim(x.flatten(0, 1) if _axis(norm) == 2 else x)
    except (ValueError, AssertionError):
        return False
    return True


def _spatial(synapse: nn.Module) -> int:
    return len(getattr(synapse, "kernel_size", ()))


def _fitting_dims(value: _Value, norm: nn.Module) -> frozenset[int]:
    """The numbers of dimensions with which `norm` certainly gets `value` along the right axis.

    Every element is labelled with its channel, moved likewise, and read where the norm sees it.
    """
    right: set[int] = set()
    wrong: set[int] = set()
    for shape in value.shapes:
        channels = torch.arange(shape[-1 - _spatial(value.source)])
        labels = channels.view(-1, *(1,) * _spatial(value.source)).expand(shape)
        try:
            for move in value.moves:
                labels = move(labels)
        except (RuntimeError, ValueError, IndexError, TypeError):
            continue
        if _takes(norm, labels):
            labels = labels.movedim(_axis(norm), -1)
            fits = labels.shape[-1] == len(channels) and bool((labels == channels).all())
            (right if fits else wrong).add(labels.dim())
    return frozenset(right - wrong)


# --- following it on symbols ----------------------------------------------------------------------


class _SymbolicFlow(_Flow):
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
        spatial = _spatial(synapse)
        leading = range(2 if spatial else 6)
        if spatial and getattr(synapse, "step_mode", "s") == "m":
            leading = range(2, 3)
        sizes = (3, 5, 7, 11, 13)
        return tuple((*sizes[:n], 2, *sizes[n : n + spatial]) for n in leading)

    def operate(self, name: str, leaves: list[Any], func: Callable) -> Any:
        if not any(isinstance(leaf, _Unknown) for leaf in leaves):
            return super().operate(name, leaves, func)
        return _Size(self) if name in _METADATA else self.symbol()

    def dispatch(self, name: str, inputs: list[Tensor]) -> None:
        if any(isinstance(x, _Symbol) for x in inputs):
            raise ValueError("its input goes to C++ code")
        super().dispatch(name, inputs)

    def symbol(self) -> "_Symbol":
        symbol = torch.empty(0, device="meta").as_subclass(_Symbol)
        symbol.flow = self
        return symbol

    def move(self, name: str, move: Callable) -> Callable | None:
        return _unknown_move if name in _SIZE_MOVES else super().move(name, move)

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
    flow: _SymbolicFlow
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

    def __init__(self, flow: _SymbolicFlow) -> None:
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
    return NotImplemented if _tensors(others) else _Size(self.flow)


for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv",
    "mod", "rmod", "pow", "rpow", "neg", "abs", "eq", "ne", "lt", "le", "gt", "ge", "getitem",
):  # fmt: skip
    setattr(_Size, f"__{_name}__", _operator)
