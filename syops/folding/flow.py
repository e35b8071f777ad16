"""What becomes of the outputs of synaptic modules in a forward pass on example inputs."""

import copy
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based import base, layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from syops.errors import SyopsTypeError


def _classes(*names: str) -> tuple[type, ...]:
    return tuple(getattr(lib, n) for lib in (nn, layer) for n in names if hasattr(lib, n))


# Exact types: a subclass may use its weights in another way (WSConv2d, parametrizations).
TRANSPOSED = _classes(*(f"ConvTranspose{n}d" for n in (1, 2, 3)))
SYNAPSES = TRANSPOSED + _classes("Linear", *(f"Conv{n}d" for n in (1, 2, 3)))
NORMS = _classes(
    *(f"{kind}BatchNorm{n}d" for kind in ("", "ThresholdDependent") for n in (1, 2, 3)),
    "SyncBatchNorm",
)

TIME_LAST = _classes("TLastSeqToANNContainer")

# Operators that read no values, and those that only move them: by axis alone, or by sizes too.
METADATA = frozenset((
    "shape", "size", "dim", "ndim", "ndimension", "dtype", "device", "numel", "nelement", "layout",
    "stride", "is_cuda", "is_contiguous", "is_floating_point", "requires_grad", "__len__",
))  # fmt: skip
AXIS_MOVES = frozenset((
    "transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis", "t", "T", "mT",
    "flatten", "unsqueeze", "contiguous", "clone", "detach",
))  # fmt: skip
SIZE_MOVES = frozenset((
    "view", "reshape", "unflatten", "squeeze", "select", "narrow", "expand", "repeat",
    "__getitem__",
))  # fmt: skip


def copied_with(model: nn.Module, replaced: dict[int, Any]) -> nn.Module:
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


@dataclass(frozen=True)
class Value:
    """What is known of a tensor: it is the output of `source`, with its elements moved around."""

    source: nn.Module
    shapes: tuple[tuple[int, ...], ...]  # that it may have had before the moves
    moves: tuple[Callable[[Tensor], Tensor], ...] = ()


class Flow(TorchFunctionMode):
    """What becomes of the outputs of a model's synaptic modules in its forward pass.

    Follows a copy of the model. The user's hooks do not run: they may reach the user's own data.
    """

    hint = ""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        hooks = [vars(m)[k] for m in model.modules() for k in vars(nn.Module()) if "hooks" in k]
        self.model = copied_with(model, {id(each): _torchs_own(each) for each in hooks}).eval()
        modules = {module: path for path, module in self.model.named_modules()}
        self.norms = {m: path for m, path in modules.items() if isinstance(m, _BatchNorm)}
        self.paths = {
            m: path
            for m, path in modules.items()
            if type(m) in SYNAPSES + NORMS and "forward" not in vars(m)
        }
        self.owners: dict[int, set[nn.Module]] = defaultdict(set)  # of parameters and buffers
        self.values = WeakIdKeyDictionary()  # tensor: Value
        self.sources: dict[nn.Module, set[Any]] = defaultdict(set)  # of norms
        self.sinks: dict[nn.Module, set[Any]] = defaultdict(set)  # of synaptic modules
        self.dims: dict[nn.Module, frozenset[int]] = {}
        self.banned: dict[nn.Module, str] = {}
        self.inside = 0  # how deep in modules of `paths`
        self.seen: list[Any] = []  # what the operator that is being executed was given
        for module in modules:
            if type(module) in TIME_LAST:
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
        inputs = tensors_of((args, kwargs))
        if type(module) in SYNAPSES:
            self.use(self.paths[module], inputs)
        else:
            value = self.values.get(inputs[0])
            self.sources[module].add(value.source if value else None)
            if value:
                self.sinks[value.source].add(module)
                dims = _fitting_dims(value, module)
                self.dims[module] = self.dims.get(module, dims) & dims

    def leave(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], out: Tensor) -> None:
        if type(module) in SYNAPSES:
            self.values[out] = Value(module, self.shapes(module, out))
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
        inputs = tensors_of(leaves)
        out = self.operate(name, leaves, partial(func, *args, **kwargs))
        if self.inside or name in METADATA:
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
        return move if name in AXIS_MOVES | SIZE_MOVES else None

    def use(self, what: str, tree: Any) -> None:
        """`what` does something else with the tensors in `tree`."""
        for tensor in tensors_of(tree):
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
            return None, f"several layers share it: {listed(sources.values())}"
        ((source, path),) = sources.items()
        if source in self.banned:
            return None, self.banned[source]
        others = {self.paths.get(sink, sink) for sink in self.sinks[source] - {norm}}
        if others:
            return None, f"the output of {path} also goes to {listed(others)}"
        if not self.dims[norm]:
            return None, f"it does not normalise the channels of {path}{self.hint}"
        return source, ""


class _Dispatch(TorchDispatchMode):
    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.flow.dispatch(str(func), tensors_of((args, kwargs)))
        return func(*args, **kwargs)


def _torchs_own(hooks: dict[int, Any]) -> dict[int, Any]:
    """Those that make a module's weights (weight_norm, prune)."""
    own = (item for item in hooks.items() if type(item[1]).__module__.startswith("torch.nn.utils"))
    return OrderedDict(own)


def _step_by_step(container: Any, x: Tensor) -> Tensor:
    steps = range(x.shape[-1])
    return torch.stack([nn.Sequential.forward(container, x[..., t]) for t in steps], dim=-1)


def listed(names: Iterable[Any]) -> str:
    return ", ".join(sorted(names))


def tensors_of(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def axis_of(norm: nn.Module) -> int:
    return 2 if getattr(norm, "step_mode", "s") == "m" else 1


def takes(norm: Any, x: Tensor) -> bool:
    """Whether the norm accepts the number of dimensions of `x`."""
    if x.dim() <= axis_of(norm):
        return False
    try:
        norm._check_input_dim(x.flatten(0, 1) if axis_of(norm) == 2 else x)
    except (ValueError, AssertionError):
        return False
    return True


def spatial_dims(synapse: nn.Module) -> int:
    return len(getattr(synapse, "kernel_size", ()))


def _fitting_dims(value: Value, norm: nn.Module) -> frozenset[int]:
    """The numbers of dimensions with which `norm` certainly gets `value` along the right axis.

    Every element is labelled with its channel, moved likewise, and read where the norm sees it.
    """
    right: set[int] = set()
    wrong: set[int] = set()
    for shape in value.shapes:
        channels = torch.arange(shape[-1 - spatial_dims(value.source)])
        labels = channels.view(-1, *(1,) * spatial_dims(value.source)).expand(shape)
        try:
            for move in value.moves:
                labels = move(labels)
        except (RuntimeError, ValueError, IndexError, TypeError):
            continue
        if takes(norm, labels):
            labels = labels.movedim(axis_of(norm), -1)
            fits = labels.shape[-1] == len(channels) and bool((labels == channels).all())
            (right if fits else wrong).add(labels.dim())
    return frozenset(right - wrong)
