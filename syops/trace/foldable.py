"""Decide which norms can be folded into layers, from what forward passes did.

A BatchNorm in eval mode is a scale and a shift for each channel. Changed weights can take them up:

* the weights of the layer before the norm, if that layer's results go into the norm and nowhere
  else;
* the weights of the layers after the norm, if the norm's results go into these layers and nowhere
  else, and these layers read nothing else. They must be linear layers or convolutions without
  padding: a convolution pads with zeros, which the norm would have shifted.

The layer before takes precedence. A norm is itself a layer that the next norm can be folded into,
so that a chain of norms becomes one. The functions are pure: the count and `syops.fold` follow the
same decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise

from syops.trace.lineage import LayerKey, LayerResult, LayerTrail, Use

Calls = Mapping[LayerKey, Sequence[LayerResult]]


@dataclass(frozen=True, slots=True)
class Folding:
    """Say which norms can be folded, and into what.

    Attributes:
        calls: of each layer.
        backward: norms folded into the layer, or the norm, whose results they read.
        copied: norms that would be, if a layer had weights of its own for each of several norms.
        absorbed: the layers that a norm whose results they read is folded into, with the norm.
        why_not: what keeps each of the other norms from it.
    """

    calls: Calls
    backward: frozenset[LayerKey]
    copied: frozenset[LayerKey]
    absorbed: Mapping[LayerKey, LayerKey]
    why_not: Mapping[LayerKey, str]

    @property
    def forward(self) -> frozenset[LayerKey]:
        """Norms folded into all layers that read their results."""
        return frozenset(self.absorbed.values())

    def into(self, norm: LayerResult) -> tuple[LayerResult, ...]:
        """Return the calls of layers that this call of a norm is folded into, if any."""
        if norm.layer in self.backward or norm.layer in self.copied:
            return tuple(_bases([norm], self.backward))
        if norm.layer in self.forward:
            return tuple(use.by for use in _uses([norm], self.backward) if use.by)
        return ()

    def after(self, layer: LayerKey) -> tuple[LayerKey, ...]:
        """Return the norms that are folded into a layer, one after the other."""
        return tuple(_norms_after(self.calls[layer], self.backward) or ())

    def added(self, layer: LayerKey) -> tuple[str, ...]:
        """Return the parameters that are added to each result of a layer before a norm reads it."""
        return next((use.biases for use in _direct_uses(self.calls[layer])), ())


def decide(passes: Iterable[LayerTrail]) -> Folding:
    """Decide what can be folded in a model of which these are forward passes."""
    passes = tuple(passes)
    calls: dict[LayerKey, list[LayerResult]] = {}
    for result in (result for each in passes for result in each.results):
        if result.layer is not None:
            calls.setdefault(result.layer, []).append(result)
    fixed = _fixed(calls, frozenset().union(*(each.read for each in passes)))
    backward = _backward(calls, fixed)
    why_not = {
        norm: fixed.get(norm) or _why_not_backward(norm, calls, fixed, backward | {norm})
        for norm in calls
        if norm.is_norm and norm not in backward
    }
    copied = frozenset(norm for norm in why_not if _needs_copies(norm, calls, fixed))
    absorbed: dict[LayerKey, LayerKey] = {}
    for norm in why_not.keys() - fixed.keys() - copied:
        layers, why = _absorbing(norm, calls, fixed, backward)
        absorbed |= dict.fromkeys(layers, norm)
        why_not[norm] += why
    return Folding(calls, backward, copied, absorbed, why_not)


def _fixed(calls: Calls, read: AbstractSet[str]) -> dict[LayerKey, str]:
    """Return the layers whose weights cannot be changed, each with the reason."""
    parts = {layer: frozenset().union(*(c.parts for c in known)) for layer, known in calls.items()}
    owners: dict[str, list[LayerKey]] = {}
    for layer, names in parts.items():
        for name in names:
            owners.setdefault(name, []).append(layer)
    fixed = {}
    for layer, names in parts.items():
        shared = {other for name in names for other in owners[name]} - {layer}
        # A module can be given weights of its own, but a function takes the parameter there is.
        if names & read or any(other.weight or layer.weight for other in shared):
            fixed[layer] = f"the parameters of {_name(layer)} are used elsewhere"
        elif len({call.slots for call in calls[layer]}) > 1:
            fixed[layer] = f"{_name(layer)} is applied in several ways"
    return fixed


def _backward(calls: Calls, fixed: Mapping[LayerKey, str]) -> frozenset[LayerKey]:
    """Return the norms that can be folded into what is before them.

    One after the other: what a norm is folded into has other results then, so that the next one
    may follow.
    """
    folded: frozenset[LayerKey] = frozenset()
    todo = [layer for layer in calls if layer.is_norm and layer not in fixed]
    while True:
        left = []
        for norm in todo:
            if _why_not_backward(norm, calls, fixed, folded | {norm}):
                left.append(norm)
            else:
                folded |= {norm}
        if len(left) == len(todo):
            return folded
        todo = left


def _why_not_backward(
    norm: LayerKey, calls: Calls, fixed: Mapping[LayerKey, str], folded: AbstractSet[LayerKey]
) -> str:
    """Return why a norm cannot be folded into what is before it; "" if it can.

    ``folded``: these others, and the norm itself.
    """
    if any(call.reads is None for call in calls[norm]):
        return "its input is not the result of a convolution or linear layer, channel by channel"
    direct = {result.layer for result in _read(calls[norm])}
    for layer in filter(None, direct):
        biases = {use.biases for use in _direct_uses(calls[layer])}
        if len(biases) > 1 or "" in biases.pop():
            return f"something that is not a parameter is added to results of {_name(layer)}"
    for base in {base.layer for base in _bases(calls[norm], folded)}:
        if base is None:
            return "the weights before it are not a parameter, or are applied in a way of their own"
        if base in fixed:
            return fixed[base]
        slots = calls[base][0].slots
        if slots is not None and not slots.bias and base in direct and len(direct) > 1:
            return f"{_name(base)} has no bias, and other layers share the norm"
        if _norms_after(calls[base], folded) is None:
            others = {_reader(use) for use in _uses(calls[base], folded - {norm})}
            return f"the result of {_name(base)} also goes to {_listed(others - {norm.path})}"
    return ""


def _norms_after(
    calls: Sequence[LayerResult], folded: AbstractSet[LayerKey]
) -> list[LayerKey] | None:
    """Return the folded norms that results run through; None if not all run through all of them."""
    norms: list[LayerKey] = []
    while True:
        uses = list(_direct_uses(calls))
        layers = {use.by.layer if use.by else None for use in uses}
        if not layers & folded:
            return norms
        if len(layers) > 1:
            return None
        norms += [layer for layer in layers if layer]
        calls = list(dict.fromkeys(use.by for use in uses if use.by))


def _needs_copies(norm: LayerKey, calls: Calls, fixed: Mapping[LayerKey, str]) -> bool:
    """Return whether a norm could be folded into a layer that had weights for each norm."""
    if norm in fixed or any(call.reads is None for call in calls[norm]):
        return False
    bases = {result.layer for result in _read(calls[norm])}
    return all(base and base not in fixed and _is_split(base, calls[base]) for base in bases)


def _is_split(layer: LayerKey, calls: Sequence[LayerResult]) -> bool:
    """Return whether several norms read results of a layer, each of them others or other pieces."""
    norms = {use.by.layer if use.by else None for use in _direct_uses(calls)}
    several = not layer.is_norm and all(norm and norm.is_norm for norm in norms) and len(norms) > 1
    return several and all(map(_is_apart, calls))


def _is_apart(result: LayerResult) -> bool:
    """Return whether one norm reads a result, or each of several a piece of its own."""
    if len({use.by.layer for use in result.uses if use.by}) < 2:
        return True
    pieces = sorted(use.piece for use in result.uses if use.piece is not None)
    return (
        len(pieces) == len(result.uses)
        and len({dim for dim, _, _ in pieces}) == 1
        and all(dim >= 0 for dim, _, _ in pieces)
        and all(before[2] <= after[1] for before, after in pairwise(pieces))
    )


def _absorbing(
    norm: LayerKey, calls: Calls, fixed: Mapping[LayerKey, str], backward: AbstractSet[LayerKey]
) -> tuple[set[LayerKey], str]:
    """Return the layers that a norm before them can be folded into; if there are none, why."""
    uses = list(_uses(calls[norm], backward))
    layers = {use.by.layer for use in uses if use.by and use.by.layer}
    unfit = {
        layer.path
        for layer in layers
        if layer.is_norm or layer in fixed or not _reads_only(calls[layer], norm, backward)
    }
    unfit |= {use.what for use in uses if not use.by}
    row = (norm, *(_norms_after(calls[norm], backward) or ()))
    unfit |= {"an addition" for each in row for use in _direct_uses(calls[each]) if use.biases}
    if unfit or not layers:
        return set(), f"; its own result goes to {_listed(unfit)}" if unfit else ""
    return layers, ""


def _reads_only(
    calls: Sequence[LayerResult], norm: LayerKey, backward: AbstractSet[LayerKey]
) -> bool:
    """Return whether all calls of a layer read results of a norm, in the same order of channels."""
    orders = {(call.reads.channels, call.reads.inner) if call.reads else None for call in calls}
    bases = {base.layer for base in _bases(calls, backward)}
    return None not in orders and len(orders) == 1 and bases == {norm}


def _bases(calls: Iterable[LayerResult], folded: AbstractSet[LayerKey]) -> Iterator[LayerResult]:
    """Yield the results that these read, once norms are folded into what is before them."""
    for result in _read(calls):
        if result.layer in folded:
            yield from _bases([result], folded)
        else:
            yield result


def _uses(calls: Iterable[LayerResult], folded: AbstractSet[LayerKey]) -> Iterator[Use]:
    """Yield the uses of results, once norms are folded into what is before them."""
    for use in _direct_uses(calls):
        if use.by is not None and use.by.layer in folded:
            yield from _uses([use.by], folded)
        else:
            yield use


def _read(calls: Iterable[LayerResult]) -> Iterator[LayerResult]:
    for call in calls:
        yield from call.reads.results if call.reads else ()


def _direct_uses(calls: Iterable[LayerResult]) -> Iterator[Use]:
    for call in calls:
        yield from call.uses


def _reader(use: Use) -> str:
    return use.by.layer.path if use.by and use.by.layer else use.what


def _name(layer: LayerKey) -> str:
    return layer.weight or layer.path or "the model"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
