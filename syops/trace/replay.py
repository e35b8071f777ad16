"""Replay what a pass taught: check each event against the plan, and take the planned readings.

Where a pass departs from the plan, it is analysed from there on; see `syops.trace.catch_up`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from syops._torch import tree_leaves
from syops.ops.registry import Find
from syops.ops.rule import Rule, tensors_in
from syops.trace.axes import Axes
from syops.trace.catch_up import catch_up
from syops.trace.forward import ForwardPass
from syops.trace.gauge import Cache, Gauge
from syops.trace.live import Tensors
from syops.trace.neurons.library import TimeIn
from syops.trace.outside import Outside
from syops.trace.plan.events import (
    Ended,
    Entered,
    Executed,
    Given,
    Left,
    Met,
    NeuronUpdated,
    Read,
    ReadOut,
    Sent,
)
from syops.trace.plan.layers import LayerCall
from syops.trace.plan.matching import Matching
from syops.trace.plan.recorder import Recorder, ended, operands_of
from syops.trace.plan.register import Register, is_plain
from syops.trace.plan.tree import PlanNode, Plans
from syops.trace.rows import is_called_at
from syops.trace.settling import Accounts
from syops.trace.watch import Watch

E = TypeVar("E")


class Replay:
    """One forward pass that is checked against a plan.

    It takes the place of a `ForwardPass`, and hands over to one where it departs from the plan.

    Args:
        plans: what earlier passes taught.
        begin: makes a `ForwardPass` with this gauge and this recorder.
        tensors: the parameters and buffers.
        where: the modules that are being run, with their paths; the innermost one is the last.
        model: the network.
        find: gives the rule of an operator.
        watch: what sees the operators.
    """

    def __init__(
        self,
        plans: Plans,
        begin: Callable[[Gauge, Recorder], ForwardPass],
        tensors: Tensors,
        where: list[tuple[str, nn.Module]],
        model: nn.Module,
        find: Find,
        watch: Watch,
    ) -> None:
        self._plans = plans
        self._begin = begin
        self._tensors = tensors
        self._where = where
        self._model = model
        self._find = find
        self._watch = watch
        self._node = plans.root
        self._register = Register(tensors)
        self._match = Matching(self._register)
        self._gauge = Gauge(tensors.factor, maps=plans.maps)
        self._caches: defaultdict[int, Cache] = defaultdict(dict)
        self._outside = Outside(model)
        self._given: Sequence[Tensor] = ()
        self._grad = torch.is_grad_enabled()
        self._layer: LayerCall | None = None
        self._analysis: ForwardPass | None = None

    # Where an event is none of the plan's, the analysis is told of it.

    def begin(
        self,
        given: Sequence[Tensor],
        signals: Sequence[Any],
        time_axis: int | None,
        differ: bool | None,
        axes: Axes,
    ) -> None:
        """Check the call of the model; see `ForwardPass.begin`."""
        self._given = given
        values = tuple(signals), time_axis, differ, axes, self._register.weights
        if all(map(is_plain, given)):
            self._register.give(given)

        def fits(event: Given) -> bool:
            known = event.signals, event.time_axis, event.differ, event.axes, event.weights
            if known != values or not self._match.all(event.tensors, given):
                return False
            self._register.given = self._register.met
            return self._are_states(event.states, self._tensors.buffered)

        if not self._follows(Given, fits):
            self._departed().begin(given, signals, time_axis, differ, axes)

    def read_out(self, tensor: Tensor) -> None:
        """Check that values of a tensor become Python numbers here."""
        if not self._follows(ReadOut, lambda event: self._match.met(event.tensor, tensor)):
            self._departed().read_out(tensor)

    def update(
        self,
        x: Tensor,
        lies: TimeIn | None,
        steps: int,
        samples: int,
        states: Sequence[Tensor],
    ) -> None:
        """Check a neuron's call, which brings its states forward; see `ForwardPass.update`."""
        path, _ = self._where[-1]

        def fits(event: NeuronUpdated) -> bool:
            known = event.path, event.lies, event.steps, event.samples
            return (
                known == (path, lies, steps, samples)
                and self._match.met(event.x, x)
                and self._are_states(event.states, states)
            )

        if not self._follows(NeuronUpdated, fits):
            self._departed().update(x, lies, steps, samples, states)

    def sent(self, outputs: Sequence[Tensor], kept: int) -> None:
        """Check what a neuron that is watched inside returns; see `ForwardPass.sent`."""
        path, _ = self._where[-1]

        def fits(event: Sent) -> bool:
            known = event.path, event.kept
            return known == (path, kept) and self._match.all(event.outputs, outputs)

        if not self._follows(Sent, fits):
            self._departed().sent(outputs, kept)

    def enter_neuron(self, tensors: Sequence[Tensor]) -> None:
        """Check the start of a neuron's ``forward`` with these tensors."""
        path, _ = self._where[-1]
        if not self._follows(
            Entered, lambda event: event.path == path and self._match.all(event.tensors, tensors)
        ):
            self._departed().enter_neuron(tensors)

    def leave_neuron(
        self,
        signal: Any,
        outputs: Sequence[Tensor],
        states: Sequence[Tensor],
        kept: int,
        is_declared: bool,
    ) -> None:
        """Check the end of a neuron's ``forward``; see `ForwardPass.leave_neuron`."""
        path, _ = self._where[-1]

        def fits(event: Left) -> bool:
            known = event.path, event.kept, event.signal, event.is_declared
            return (
                known == (path, kept, signal, is_declared)
                and self._match.all(event.outputs, outputs)
                and self._are_states(event.states, states)
            )

        if not self._follows(Left, fits):
            self._departed().leave_neuron(signal, outputs, states, kept, is_declared)
            return
        assert isinstance(self._node.event, Left)
        for read in self._node.event.reads:
            self._read(read, outputs)

    def _are_states(self, told: Sequence[Met], states: Sequence[Tensor]) -> bool:
        met = self._register.met
        if not self._match.all(told, states):
            return False
        self._register.states_since(met)
        return True

    # Layers of torch, which are not watched where they can only do what is planned.

    def enter_layer(self, module: nn.Module, x: Tensor) -> bool:
        """Return whether a layer that is called with ``x`` need not be watched."""
        path, _ = self._where[-1]
        if self._analysis is not None:
            return False
        if path in self._node.layers:
            layer = self._node.layers[path]
            return layer is not None and layer.is_called(module, x, self._match)
        self._layer = LayerCall(self._node, module, x, self._register.met)
        return False

    def leave_layer(self, output: Any) -> None:
        """Learn what a layer has done that was watched."""
        path, module = self._where[-1]
        call, self._layer = self._layer, None
        if self._analysis is None and call is not None and call.module is module:
            call.start.layers[path] = call.learned(self._node, output, self._register)

    def leave_unwatched(self, x: Tensor, output: Any) -> bool:
        """Return whether a layer that was not watched did what is planned, and take its readings.

        ``output``: None where it failed.
        """
        path, _ = self._where[-1]
        layer = self._node.layers[path]
        if not layer.returns(output, x, self._register):
            self._departed()
            return False
        self._node = layer.end
        for read in layer.reads:
            self._read(read, (x, output))
        return True

    def enter_recurrent(self, states: Sequence[Tensor]) -> None:
        """Go on in full analysis: a recurrent layer of torch is called."""
        self._departed().enter_recurrent(states)

    def leave_recurrent(self) -> None:
        """Tell the full analysis that a recurrent layer of torch has returned."""
        self._departed().leave_recurrent()

    def hooked(self, tensors: Sequence[Tensor]) -> None:
        """Go on in full analysis: a hook that does not run here might read these."""
        self._departed().hooked(tensors)

    def finish(self, output: Any, accounts: Accounts, samples: int) -> frozenset[str]:
        """Finish the pass; see `ForwardPass.finish`."""
        if self._analysis is None and self._has_ended(output):
            assert self._node.end is not None
            accounts.add(self._node.end, self._gauge, samples, wait=True)
            self._plans.followed(to_its_end=True)
            return frozenset()
        return self._departed().finish(output, accounts, samples)

    def _has_ended(self, output: Any) -> bool:
        """Return whether the model returns here in the plan too."""
        outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if not all(map(is_plain, outputs)):
            return False
        met = self._register.met
        has_states = self._tensors.has_changed_weights()
        unseen = self._outside.unseen(besides=self._given)
        event = ended(self._register, self._model, self._given, outputs, has_states, unseen)
        follows = self._follows(Ended, lambda known: known == event)
        if not follows:
            self._register.forget(met)
        return follows

    def operator(
        self, rule: Rule | None, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Execute an operator, and take the readings that are planned for it."""
        if self._analysis is not None:
            return self._analysis.operator(rule, func, args, kwargs)
        register, met = self._register, self._register.met
        results: list[Any] = []
        for node in self._node.next:
            event = node.event
            if type(event) is not Executed or event.func is not func:
                continue
            if self._fits(event, args, kwargs):
                try:
                    results = results or [func(*args, **kwargs)]
                except Exception:  # the model may go on: the analysis has to see it fail
                    register.forget(met)
                    break
                is_read = event.has_views or event.reads or event.unseen
                operands = operands_of(args, kwargs) if is_read else ()
                if self._match.result(event.out, results[0], operands):
                    self._executed(node, event, operands, results[0])
                    return results[0]
            register.forget(met)
        if results:
            return self._departed().executed(rule, func, args, kwargs, results[0])
        return self._departed().operator(rule, func, args, kwargs)

    def _fits(self, event: Executed, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return whether an operator that is about to be executed is this one of the plan."""
        return (
            event.path == self._where[-1][0]
            and self._match.arguments(event.args, args)
            and (event.kwargs == kwargs == {} or self._match.argument(event.kwargs, kwargs))
            and event.checks == self._watch.checks
            and (event.site is None or is_called_at(event.site))
        )

    def _executed(
        self,
        node: PlanNode,
        event: Executed,
        operands: Sequence[Tensor],
        out: Any,
    ) -> None:
        """Go on to an operator of the plan that was executed, and take its readings."""
        self._node = node
        for place in event.unseen:
            self._outside.note(operands[place], event.path)
        if event.reads:
            tensors = [*operands, *tensors_in((out,))]
            for read in event.reads:
                self._read(read, tensors)

    def _read(self, read: Read, tensors: Sequence[Tensor]) -> None:
        """Take a planned reading of these operands and results."""
        sources = []
        for source in read.sources:
            tensor = tensors[source.place]
            if source.view is not None:
                shape, stride, offset = source.view
                tensor = tensor.as_strided(shape, stride, offset + self._register.start(tensor))
            sources.append(tensor)
        cache = () if read.cache is None else (self._caches[read.cache],)
        getattr(self._gauge, read.method)(*sources, *cache, *read.args)

    def _follows(self, kind: type[E], fits: Callable[[E], bool]) -> bool:
        """Go on to an event of this kind that ``fits``, if the plan has one here."""
        if self._analysis is not None:
            return False
        met = self._register.met
        for node in self._node.next:
            if type(node.event) is kind and fits(node.event):
                self._node = node
                return True
            self._register.forget(met)
        return False

    def _departed(self) -> ForwardPass:
        """Return the analysis of the pass, which knows of all events so far."""
        if self._analysis is None:
            self._plans.followed(to_its_end=False)
            self._analysis = catch_up(
                self._node,
                self._begin,
                self._register,
                self._gauge,
                self._caches,
                self._where,
                self._find,
                self._outside,
                self._given,
                self._grad,
                self._plans.has_room,
            )
        return self._analysis
