"""Let an analysis catch up with the events of a pass so far, on stand-ins for its tensors.

A pass that has kept to a plan was not analysed. Where it departs, its analysis has to know all
that went before. It goes through the events once more: nothing of the model is run, operators
return stand-ins without values, and readings are those that were taken. At the end what is known
of the stand-ins is known of the tensors that they stood for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from syops._torch import identity, storage_identity, unwatched, version_of
from syops.ops.registry import Find
from syops.ops.traits import traits_of
from syops.ops.values import UNKNOWN
from syops.trace.axes import Split
from syops.trace.counting import Weighting
from syops.trace.forward import ForwardPass
from syops.trace.gauge import Cache, Gauge
from syops.trace.live import StoodFor, Tensors
from syops.trace.outside import Outside
from syops.trace.plan.events import (
    Entered,
    Event,
    Executed,
    Given,
    Left,
    Met,
    NeuronUpdated,
    New,
    Output,
    ReadOut,
    Ref,
    Sent,
    TensorMetadata,
)
from syops.trace.plan.recorder import Recorder, operands_of
from syops.trace.plan.register import Register
from syops.trace.plan.tree import PlanNode


def catch_up(
    node: PlanNode,
    begin: Callable[[Gauge, Recorder], ForwardPass],
    register: Register,
    gauge: Gauge,
    caches: Mapping[int, Cache],
    where: list[tuple[str, nn.Module]],
    find: Find,
    outside: Outside,
    given: Sequence[Tensor],
    grad: bool,
    is_taught: bool,
) -> ForwardPass:
    """Begin an analysis in the middle of a pass.

    Args:
        node: the last event of the plan that has happened.
        begin: makes the analysis.
        register: the tensors that were met.
        gauge: the readings that were taken.
        caches: what was kept for these, by number.
        where: the modules that are being run, with their paths.
        find: gives the rule of an operator.
        outside: the tensors that nobody saw being made.
        given: what the model was called with.
        grad: whether gradients were recorded at the start of the pass.
        is_taught: what comes from here on is added to the plan.

    Returns:
        the analysis, which goes on from here.
    """
    here = list(where)
    stand_ins = _StandIns(register.tensors)
    taken = _Taken(gauge, caches)
    recorder = Recorder(node, register, taken.numbers)
    recorder.node = None  # these events are recorded
    # The model, or autocast, may have other modes here than those that the pass began in. To leave
    # inference mode switches gradients on.
    with unwatched(), torch.inference_mode(False), torch.set_grad_enabled(grad):
        analysis = begin(taken, recorder)
        dispatch = analysis.dispatch
        call_site, checks = dispatch.call_site, dispatch.checks
        try:
            for event in node.path():
                _repeat(event, analysis, stand_ins, where, find, given)
        finally:
            where[:] = here
        analysis.tensors.rebind(stand_ins.stood_for(register))
    recorder.node = node if is_taught else None
    dispatch.outside, dispatch.call_site, dispatch.checks = outside, call_site, checks
    dispatch.measurements.gauge = taken.resumed(recorder)
    analysis.given = given
    return analysis


def _repeat(
    event: Event,
    analysis: ForwardPass,
    stand_ins: _StandIns,
    where: list[tuple[str, nn.Module]],
    find: Find,
    given: Sequence[Tensor],
) -> None:
    """Let the analysis see an event of the plan; ``given``: what the model was called with."""
    match event:
        case Given():
            inputs, states = stand_ins.given(event.tensors, given), stand_ins.all(event.states)
            for state in states:
                analysis.tensors.put(state, UNKNOWN)
            analysis.begin(inputs, event.signals, event.time_axis, event.differ, event.axes)
        case ReadOut():
            analysis.read_out(stand_ins.tensor(event.tensor))
        case NeuronUpdated():
            analysis.updated(event.updates, stand_ins.tensor(event.x), event.lies)
        case Sent():
            where[:] = [(event.path, event.module)]
            analysis.sent(stand_ins.all(event.outputs), event.kept)
        case Entered():
            where[:] = [(event.path, event.module)]
            analysis.enter_neuron(stand_ins.all(event.tensors))
        case Left():
            where[:] = [(event.path, event.module)]
            outputs, states = stand_ins.all(event.outputs), stand_ins.all(event.states)
            analysis.leave_neuron(event.signal, outputs, states, event.kept, event.is_declared)
        case Executed():
            where[:] = [(event.path, event.module)]
            analysis.dispatch.call_site = lambda: event.site or ()
            analysis.dispatch.checks = lambda: event.checks
            args, kwargs = stand_ins.arguments((event.args, event.kwargs))
            out = stand_ins.results(event.out, operands_of(args, kwargs))
            analysis.executed(find(event.func), event.func, args, kwargs, out)
            for target in traits_of(event.func).written(args, kwargs):
                increment_version(target)


class _StandIns:
    """The stand-ins for the tensors that a pass has met. Parameters stand for themselves.

    Args:
        tensors: the parameters and buffers.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._by_id: list[Tensor] = []
        self._versions: list[int] = []
        self._starts: dict[int, int] = {}

    def tensor(self, met: Met) -> Tensor:
        """Return the stand-in for a tensor, written into as often."""
        if isinstance(met, New):
            return self._enter(_stand_in(met.metadata, met.literal))
        if isinstance(met.id, str):
            return self._tensors.of_name(met.id)
        tensor = self._by_id[met.id - 1]
        while version_of(tensor) - self._versions[met.id - 1] < met.writes:
            increment_version(tensor)  # by a neuron, or where nobody saw it
        return tensor

    def all(self, met: Sequence[Met]) -> list[Tensor]:
        """Return the stand-ins for several tensors."""
        return list(map(self.tensor, met))

    def given(self, met: Sequence[Met], tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the stand-ins for the inputs of the model, which lie where these do."""
        found = []
        for each, tensor in zip(met, tensors, strict=True):
            if isinstance(each, New):
                start = int(tensor.storage_offset()) - int(each.metadata.offset)
                stand_in = self._enter(_stand_in(_moved(each.metadata, start)))
                self._starts[storage_identity(stand_in)] = start
            else:
                stand_in = self.tensor(each)
            found.append(stand_in)
        return found

    def arguments(self, planned: Any) -> Any:
        """Return the arguments of an operator."""
        if isinstance(planned, (Ref, New)):
            return self.tensor(planned)
        if isinstance(planned, dict):
            return {name: self.arguments(item) for name, item in planned.items()}
        if isinstance(planned, (list, tuple)):
            return type(planned)(map(self.arguments, planned))
        return planned

    def results(self, planned: Any, operands: Sequence[Tensor]) -> Any:
        """Return the result of an operator."""
        if isinstance(planned, Ref):
            return (
                self._tensors.of_name(planned.id)
                if isinstance(planned.id, str)
                else self._by_id[planned.id - 1]
            )
        if isinstance(planned, Output):
            if planned.of is None:
                return self._enter(_stand_in(planned.metadata))
            base = operands[planned.of]
            metadata = _moved(planned.metadata, self._starts.get(storage_identity(base), 0))
            view = base.as_strided(metadata.shape, metadata.stride, metadata.offset)
            return self._enter(view, self._version(base))
        if isinstance(planned, (list, tuple)):
            return type(planned)(self.results(item, operands) for item in planned)
        return planned

    def stood_for(self, register: Register) -> dict[int, StoodFor]:
        """Return the tensor that each stand-in stood for."""
        stood_for = {}
        for key, entry in register.entries.items():
            if isinstance(entry.id, int):
                shift = entry.version - self._versions[entry.id - 1]
                stand_in = self._by_id[entry.id - 1]
                stood_for[identity(stand_in)] = StoodFor(key, entry.ref, entry.storage, shift)
        return stood_for

    def _enter(self, tensor: Tensor, version: int | None = None) -> Tensor:
        self._by_id.append(tensor)
        self._versions.append(version_of(tensor) if version is None else version)
        return tensor

    def _version(self, base: Tensor) -> int:
        """Return the version of a stand-in when it was met."""
        named = self._tensors.named(base)
        if named is not None:
            return named[1]
        place = next(place for place, each in enumerate(self._by_id) if each is base)
        return self._versions[place]


def _moved(metadata: TensorMetadata, start: int) -> TensorMetadata:
    return metadata._replace(offset=int(metadata.offset) + start)


def _stand_in(metadata: TensorMetadata, literal: bytes | None = None) -> Tensor:
    """Return a tensor that lies as another one does: without values, unless it is a literal."""
    if literal is not None:
        size = torch.empty(0, dtype=metadata.dtype).element_size()
        values = torch.tensor(list(literal), dtype=torch.uint8)
        flat = values.view(metadata.dtype) if size and literal else values.to(metadata.dtype)
        return flat.reshape(metadata.shape)
    reach = (
        metadata.offset
        + 1
        + sum(
            stride * (size - 1)
            for size, stride in zip(metadata.shape, metadata.stride, strict=True)
        )
    )
    memory = torch.empty(max(reach, 0), dtype=metadata.dtype, device="meta")
    return memory.as_strided(metadata.shape, metadata.stride, metadata.offset)


class _Taken(Gauge):
    """Hand out the places of readings that were taken.

    Args:
        gauge: that took them.
        caches: what it kept, by number.

    Attributes:
        numbers: of the caches that were used, by their addresses.
    """

    def __init__(self, gauge: Gauge, caches: Mapping[int, Cache]) -> None:
        super().__init__(gauge.factor)
        self.numbers: dict[int, tuple[int, Cache]] = {}
        self._gauge = gauge
        self._caches = caches
        self._counted = 0
        self._looked = 0

    def resumed(self, recorder: Recorder) -> Gauge:
        """Return what takes the readings from here on."""
        gauge = Gauge(self.factor, recorder.read)
        gauge.counts, gauge.looks = self._gauge.counts, self._gauge.looks
        return gauge

    def _announce(
        self, method: str, tensors: Sequence[Tensor], cache: Cache | None, *args: Any
    ) -> None:
        if cache is not None:
            self._number(cache)

    def _number(self, cache: Cache) -> int:
        return self.numbers.setdefault(id(cache), (len(self.numbers), cache))[0]

    def _per_position(
        self,
        x: Tensor,
        cache: Cache,
        spatial: int,
        weighting: Weighting,
        split: Split | None,
    ) -> Tensor:
        found: Tensor = self._caches[self._number(cache)][weighting, spatial, split]
        return found

    def _count(self, read: Callable[[], Tensor]) -> int:
        self._counted += 1
        return self._counted - 1

    def _look(self, read: Callable[[], tuple[Tensor, Tensor, Tensor]]) -> int:
        self._looked += 3
        return self._looked - 3
