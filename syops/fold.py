"""Fold batch norms into the layers around them (Appendix A).

    W' = gamma / sigma * W,   B' = (B - mu) * gamma / sigma + beta,   sigma = sqrt(var + eps)

These weights (Eq. 16 and 17; B is the bias of the layer, or 0) fold a norm into the layer before
it. A norm is folded into a layer after it by W' = W * s along the input channels and B' = B + W t,
where s = gamma / sigma is the norm's scale and t = beta - mu * s its shift.

`syops.trace.foldable` decides which norms can be folded, on the forward pass that is also counted:
the norms that a report calls folded are those that are folded here.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from syops._torch import PRE_HOOKS, BatchNorm, hooks_of, tree_leaves, tree_map
from syops.errors import SyopsTypeError, SyopsValueError
from syops.ledger.ledger import Ledger
from syops.trace import inputs as given
from syops.trace.affine import Affine, affine_of, changed, made_plain, slots_of, weight_hooks
from syops.trace.bounds import without_values
from syops.trace.foldable import Folding, decide
from syops.trace.lineage import LayerKey, LayerTrail
from syops.trace.meta import left_behind
from syops.trace.model import check_model, check_values, weight_dtype
from syops.trace.neurons import takes_a_sequence
from syops.trace.neurons.library import SIGNALS
from syops.trace.observer import Observer, until_known
from syops.trace.restore import InEvalMode, Random, device_of, left_as_found, plainly
from syops.trace.settings import Settings
from syops.trace.states import Lending
from syops.trace.weights import applies_its_weights

__all__ = ["FoldPlan", "fold_bn", "plan_folding"]

_WHAT_TO_TYPE = (
    "inputs: folding follows a forward pass; give the shape of an input, "
    "fold_bn(model, (1, 3, 224, 224)), or an example, fold_bn(model, x)"
)


@dataclass(frozen=True)
class FoldPlan:
    """Say by module path which norms `fold_bn` folds into which layers, and why not the others.

    Attributes:
        folded: pairs of a layer and a norm that is folded into it.
        unfolded: why each of the other norms is not.
    """

    folded: tuple[tuple[str, str], ...]
    unfolded: dict[str, str]

    def __str__(self) -> str:
        folded = [f"{norm}: folded into {layer}" for layer, norm in self.folded]
        return "\n".join(folded + [f"{norm}: {why}" for norm, why in self.unfolded.items()])


def fold_bn(model: nn.Module, inputs: Any = None) -> nn.Module:
    """Return a copy of `model` in eval mode with batch norms folded into the layers around them.

    In the copy a folded norm is an `nn.Identity`; `model` is not changed. The norms that are folded
    (Eqs. 16 and 17) are those that a report of the same model on these inputs calls folded. One
    warning names the norms that remain, and why.

    Args:
        model: any module.
        inputs: the shape of its input, with the batch dimension; or an example: a tensor, a tuple
            of arguments or a dict of keyword arguments. An example is needed only if the model
            branches on values. Without one, hooks do not run, and a norm with a hook between it
            and its layer is not folded.

    Raises:
        SyopsTypeError: `model` is not a module, is scripted or cannot be copied; `inputs` are
            missing or of another type.
        ForwardError: the model fails on `inputs`; names the layer.

    Examples:
        >>> from torch import nn
        >>> fold_bn(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), (1, 3, 32, 32))
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): Identity()
        )
    """
    model = _usable(model)
    folding = _decided(model, inputs)
    plan = _plan(model, folding)
    if plan.unfolded:
        left = "\n".join(f"  {norm}: {why}" for norm, why in plan.unfolded.items())
        warnings.warn(f"{len(plan.unfolded)} batch norms were not folded:\n{left}", stacklevel=2)
    return _folded(model, folding)


def plan_folding(model: nn.Module, inputs: Any = None) -> FoldPlan:
    """Tell which batch norms `fold_bn` folds, and why it leaves the others.

    Takes the same arguments as `fold_bn`, and raises the same errors.
    """
    model = _usable(model)
    return _plan(model, _decided(model, inputs))


def _usable(model: nn.Module) -> nn.Module:
    check_model(model)
    return getattr(model, "_orig_mod", model)  # what torch.compile wraps


def _decided(model: nn.Module, inputs: Any) -> Folding:
    if inputs is None:
        raise SyopsTypeError(_WHAT_TO_TYPE)
    if given.is_shape(inputs):
        return decide(plainly(lambda: _without_values(model, inputs)))
    if not isinstance(inputs, (Tensor, tuple, dict)):
        raise SyopsTypeError(f"{_WHAT_TO_TYPE}; got {type(inputs).__name__}")
    check_values(model)
    called_with = given.example(inputs, weight_dtype(model))
    return decide(plainly(lambda: _with_values(model, called_with)))


def _without_values(model: nn.Module, shape: Any) -> tuple[LayerTrail, ...]:
    args, kwargs = given.example(shape, weight_dtype(model))
    return without_values(
        model,
        lambda observer: observer.run_twice(args, kwargs, [SIGNALS["analog"]]),
        Ledger(),
        Settings(hooked=left_behind(model)),
    )


def _with_values(model: nn.Module, called_with: given.Arguments) -> tuple[LayerTrail, ...]:
    observer, home = Observer(model, Ledger(), Settings()), device_of(model)
    args, kwargs = tree_map(lambda leaf: given.plain(given.usable(leaf, home)), called_with)
    signals = [SIGNALS["analog"]] * len(given.tensors_of((args, kwargs)))

    def watched() -> tuple[LayerTrail, ...]:
        mode, lending = InEvalMode(model), Lending(model)

        def run() -> tuple[LayerTrail, ...]:
            mode.begin()
            lending.renew()
            work = partial(observer.run_twice, args, kwargs, signals)
            return until_known(work, lending.renew)

        return left_as_found(run, Random.now(), mode, lending)

    return observer.watching(watched)


def _plan(model: nn.Module, folding: Folding) -> FoldPlan:
    folded: list[tuple[str, str]] = []
    unfolded: dict[str, str] = {}
    for path, norm in model.named_modules():
        if not isinstance(norm, BatchNorm):
            continue
        layer = LayerKey(path, is_norm=True)
        calls = folding.calls.get(layer, ())
        layers = (into.layer for call in calls for into in folding.into(call))
        into = sorted({each.path or each.weight for each in layers if each})
        if layer in folding.copied:
            unfolded[path] = f"{', '.join(into)} would need a copy of its weights for each norm"
        elif into:
            folded += [(each, path) for each in into]
        else:
            unfolded[path] = _why_not(norm, folding.why_not.get(layer))
    return FoldPlan(tuple(folded), unfolded)


def _why_not(norm: BatchNorm, why: str | None) -> str:
    if norm.running_mean is None:
        return "it normalises with batch statistics (track_running_stats=False)"
    if not applies_its_weights(norm):
        return f"{type(norm).__name__} does not compute as a BatchNorm of torch does"
    return why or "the forward pass does not call it, or takes it apart"


# The folding itself


@torch.no_grad()
def _folded(model: nn.Module, folding: Folding) -> nn.Module:
    """Return a copy in which all is folded that needs no second copy of weights."""
    norms: dict[LayerKey, Any] = {
        layer: model.get_submodule(layer.path)
        for layer in folding.calls
        if layer in folding.backward | folding.forward
    }
    affine = {layer: affine_of(_plain(norm)) for layer, norm in norms.items()}
    instead: dict[LayerKey, nn.Module] = {}
    for layer, norm in norms.items():
        instead[layer] = _identity(norm, {call.dims for call in folding.calls[layer]})
    changed_layers = [
        layer
        for layer in folding.calls
        if layer not in norms and (layer in folding.absorbed or folding.after(layer))
    ]
    shifts: dict[LayerKey, _Shift] = {}
    for layer in changed_layers:
        after, slots = folding.after(layer), folding.calls[layer][0].slots
        if after and slots is not None and not slots.bias:
            instead[after[0]] = shifts[layer] = _Shift(norms[after[0]])
    tensors = dict(chain(model.named_parameters(), model.named_buffers()))
    copied = copied_with(model, {norms[layer]: module for layer, module in instead.items()}).eval()
    for layer in changed_layers:
        norm = folding.absorbed.get(layer)
        before = affine[norm] if norm else None
        if norm and before and (more := _in_a_row(norm, folding, affine, tensors)):
            before = before.then(more)
        around = before, _in_a_row(layer, folding, affine, tensors)
        _change(copied, layer, folding, *around, shifts.get(layer))
    return copied


def _plain(norm: Any) -> Any:
    """Return a norm with weights as hooks make them now; it may have those of an earlier pass."""
    if not weight_hooks(norm):
        return norm
    copied = copied_with(norm, {})
    made_plain(copied)
    return copied


def _sum(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Tensor | float:
    """Return the sum of parameters with one value for each channel."""
    return sum(tensors[name].double().reshape(-1) for name in names)


def _in_a_row(
    layer: LayerKey,
    folding: Folding,
    affine: Mapping[LayerKey, Affine],
    tensors: Mapping[str, Tensor],
) -> Affine | None:
    """Return what the norms folded into a layer do, one after the other.

    What the model itself adds to what each of them reads, it goes on adding.
    """
    norms = folding.after(layer)
    if not norms:
        return None
    added = [_sum(tensors, folding.added(read)) for read in (layer, *norms[:-1])]
    scale = affine[norms[0]].scale
    whole = Affine(torch.ones_like(scale), torch.zeros_like(scale))
    for more, norm in zip(added, norms, strict=True):
        whole = whole.plus(more).then(affine[norm])
    return whole.plus(-sum(added))


def _change(
    model: nn.Module,
    layer: LayerKey,
    folding: Folding,
    before: Affine | None,
    after: Affine | None,
    shift: _Shift | None,
) -> None:
    """Give a layer the weights that do what it did together with norms before and after it.

    Args:
        model: the copy.
        layer: one of its layers.
        folding: what is folded.
        before, after: what these norms do.
        shift: what adds a bias to its results, where it has none of its own.
    """
    call = folding.calls[layer][0]
    tensors = dict(chain(model.named_parameters(), model.named_buffers()))
    if call.slots is None:
        module: Any = model.get_submodule(layer.path)
        made_plain(module)
        slots, bias = slots_of(module), module.bias
        weight = torch.ones_like(module.running_var) if module.weight is None else module.weight
    else:
        slots, weight, bias = call.slots, tensors[layer.weight], tensors.get(call.slots.bias)
    if before is not None and call.reads is not None:
        before = before.at(weight.shape[slots.inputs] * slots.groups, call.reads)
    new, total = changed(weight, bias, slots, before, after)
    if call.slots is None:
        module.weight = nn.Parameter(new.to(weight.dtype), weight.requires_grad)
        module.bias = nn.Parameter(total.to(weight.dtype), weight.requires_grad)
    else:
        weight.copy_(new)
        (bias if shift is None else shift.bias).copy_(total)


def copied_with(model: nn.Module, replaced: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Return a deep copy with modules ``replaced`` wherever it refers to them; hooks stay."""
    memo: dict[int, Any] = {id(old): new for old, new in replaced.items()}
    for value in tree_leaves([vars(module) for module in model.modules()]):
        # A state left by a forward pass with gradients: deepcopy refuses those.
        if isinstance(value, Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()
    try:
        copied = copy.deepcopy(model, memo)
        for old, new in replaced.items():
            hooks = {name: value for name, value in vars(old).items() if name in _HOOKS}
            vars(new).update(copy.deepcopy(hooks, memo))
            for key in weight_hooks(new):  # there are no weights to make
                del hooks_of(new, PRE_HOOKS)[key]
    except Exception as error:
        raise SyopsTypeError(f"model: folding works on a copy, which fails: {error}") from error
    return copied


_HOOKS = frozenset(name for name in vars(nn.Module()) if "hooks" in name)


# What stands in the place of a norm


class _Checked(nn.Identity):
    """Stand for a folded norm that takes several input shapes and was folded for one of them."""

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


class _Shift(nn.Module):
    """Stand for a norm that was folded into weights applied without a bias: add the shift."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.axis = _axis_of(norm)
        self.register_buffer("bias", torch.zeros_like(norm.running_mean))
        self.bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.view(-1, *(1,) * (x.dim() - self.axis - 1))


def _identity(norm: Any, seen: set[int]) -> nn.Module:
    """Return what replaces a folded norm; ``seen``: numbers of dimensions that its operator got."""
    axis = _axis_of(norm)
    dims = frozenset(each + axis - 1 for each in seen)
    taken = {n for n in range(2, 8) if _takes(norm, torch.empty((2,) * n, device="meta"))}
    return nn.Identity() if taken == dims else _Checked(dims)


def _axis_of(norm: nn.Module) -> int:
    """Return the dimension of channels in a norm's input: 2 where it takes [T, N, C, ...]."""
    return 2 if takes_a_sequence(norm) else 1


def _takes(norm: Any, x: Tensor) -> bool:
    """Return whether a norm accepts the number of dimensions of ``x``."""
    axis = _axis_of(norm)
    if x.dim() <= axis:
        return False
    try:
        norm._check_input_dim(x.flatten(0, 1) if axis == 2 else x)
    except (ValueError, AssertionError):
        return False
    return True
