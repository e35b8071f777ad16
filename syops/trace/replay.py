"""Replay what a pass taught: check each event against the plan, and take the planned readings.

Where a pass departs from the plan, it is analysed from there on; see `syops.trace.rehearse`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from syops._torch import identity, storage_identity, tree_leaves, version_of
from syops.ledger.rows import Updates
from syops.ops.registry import Find
from syops.ops.rule import Rule, tensors_in
from syops.trace.account import Accounts
from syops.trace.forward import ForwardPass
from syops.trace.gauge import Cache, Gauge
from syops.trace.live import Tensors
from syops.trace.outside import Outside
from syops.trace.plan.events import (
    Brought,
    Entered,
    Event,
    Executed,
    Given,
    Left,
    New,
    Output,
    Read,
    Ref,
    Told,
)
from syops.trace.plan.recorder import Recorder, ended, operands_of
from syops.trace.plan.register import Register, is_plain
from syops.trace.plan.tree import Node, Plans
from syops.trace.rehearse import rehearse
from syops.trace.rows import call_site
from syops.trace.watch import Watch


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
        self._gauge = Gauge(tensors.factor)
        self._caches: defaultdict[int, Cache] = defaultdict(dict)
        self._outside = Outside(model)
        self._given: Sequence[Tensor] = ()
        self._analysis: ForwardPass | None = None

    # Where an event is none of the plan's, the analysis is told of it.

    def begin(
        self,
        given: Sequence[Tensor],
        signals: Sequence[Any],
        time_axis: int | None,
        differ: bool | None,
    ) -> None:
        """Check the call of the model; see `ForwardPass.begin`."""
        self._given = given
        met = self._register.meet
        if not self._follows(
            lambda: Given(
                tuple(map(met, given)), tuple(signals), time_axis, differ, self._register.weights
            ),
            given,
        ):
            self._departed().begin(given, signals, time_axis, differ)
        else:
            self._register.given = self._register.met

    def told(self, tensor: Tensor) -> None:
        """Check that values of a tensor become Python numbers here."""
        if not self._follows(lambda: Told(self._register.meet(tensor)), [tensor]):
            self._departed().told(tensor)

    def update(self, steps: int, samples: int, states: Sequence[Tensor]) -> None:
        """Check a neuron's call, which brings its states forward; see `ForwardPass.update`."""
        path, _ = self._where[-1]
        met = self._register.meet_states
        none = Updates(path, 0, 0, 0, 0)  # what it comes to is in the plan
        if not self._follows(lambda: Brought(path, steps, samples, met(states), none), states):
            self._departed().update(steps, samples, states)

    def enter_neuron(self, tensors: Sequence[Tensor]) -> None:
        """Check the start of a neuron's ``forward`` with these tensors."""
        where, met = self._where[-1], self._register.meet
        if not self._follows(
            lambda: Entered(where[0], tuple(map(met, tensors)), where[1]), tensors
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
        path, neuron = self._where[-1]

        def event() -> Event:
            returned = tuple(map(self._register.meet, outputs))
            met = self._register.meet_states(states)
            return Left(path, returned, met, kept, signal, is_declared, neuron)

        if not self._follows(event, (*outputs, *states)):
            self._departed().leave_neuron(signal, outputs, states, kept, is_declared)
            return
        assert isinstance(self._node.event, Left)
        for read in self._node.event.reads:
            self._read(read, outputs)

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
        if self._analysis is None:
            outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            has_states = self._tensors.has_changed_weights()
            unseen = self._outside.unseen(besides=self._given)
            if self._follows(
                lambda: ended(
                    self._register, self._model, self._given, outputs, has_states, unseen
                ),
                outputs,
            ):
                assert self._node.end is not None
                accounts.add(self._node.end, self._gauge, samples, wait=True)
                self._plans.followed(to_its_end=True)
                return frozenset()
        return self._departed().finish(output, accounts, samples)

    def operator(
        self, rule: Rule | None, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Execute an operator, and take the readings that are planned for it."""
        if self._analysis is not None:
            return self._analysis.operator(rule, func, args, kwargs)
        register, met = self._register, self._register.met
        operands = operands_of(args, kwargs)
        results: list[Any] = []
        for node in self._node.next:
            event = node.event
            if not isinstance(event, Executed) or event.func is not func:
                continue
            if self._fits(event, args, kwargs):
                try:
                    results = results or [func(*args, **kwargs)]
                except Exception:  # the model may go on: the analysis has to see it fail
                    register.forget(met)
                    break
                if self._made(event.out, results[0], operands):
                    self._executed(node, event, operands, results[0])
                    return results[0]
            register.forget(met)
        if results:
            return self._departed().executed(rule, func, args, kwargs, results[0])
        return self._departed().operator(rule, func, args, kwargs)

    def _fits(self, event: Executed, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return whether an operator that is about to be executed is this one of the plan."""
        if event.path != self._where[-1][0] or len(event.args) != len(args):
            return False
        for told, value in zip(event.args, args, strict=True):
            if told is not value and not self._is(told, value):
                return False
        return (
            event.kwargs.keys() == kwargs.keys()
            and all(self._is(told, kwargs[name]) for name, told in event.kwargs.items())
            and event.checks == self._watch.checks
            and (event.site is None or event.site == call_site())
        )

    def _is(self, told: Any, value: Any) -> bool:
        """Return whether an argument is the one that is told in the plan."""
        kind = type(told)
        if kind is Ref:
            if not isinstance(value, Tensor):
                return False
            entry = self._register.entries.get(identity(value)) or self._register.entry(value)
            return (
                entry is not None
                and entry.id == told.id
                and version_of(value) - entry.version == told.writes
                and storage_identity(value) == entry.storage
                and entry.metadata.fits(value)
            )
        if kind is New:
            if not (isinstance(value, Tensor) and is_plain(value)):
                return False
            return bool(self._register.meet(value, told.literal is not None) == told)
        if kind is not type(value):
            return False
        if kind is list or kind is tuple:
            if told and isinstance(told[0], int):  # sizes and the like
                return bool(told == value)
            return len(told) == len(value) and all(map(self._is, told, value))
        if kind is dict:
            return told.keys() == value.keys() and all(
                self._is(item, value[name]) for name, item in told.items()
            )
        if kind is float:
            return bool(told.hex() == value.hex())  # 0.0 and -0.0 differ, NaN is NaN
        return bool(told == value)

    def _executed(
        self,
        node: Node,
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

    def _made(self, told: Any, out: Any, operands: Sequence[Tensor]) -> bool:
        """Return whether the result of an operator is what is told in the plan."""
        kind = type(told)
        if kind is Output:
            if (
                not isinstance(out, Tensor)
                or not told.metadata.fits(out)
                or identity(out) in self._register.entries
            ):
                return False
            base = None if told.of is None else operands[told.of]
            if base is not None and storage_identity(base) != storage_identity(out):
                return False
            self._register.add(out, told.metadata, base)
            return True
        if kind is Ref:
            entry = self._register.entry(out) if isinstance(out, Tensor) else None
            return entry is not None and entry.id == told.id
        if kind is list or kind is tuple:
            return (
                isinstance(out, (list, tuple))
                and len(told) == len(out)
                and all(self._made(*each, operands) for each in zip(told, out, strict=True))
            )
        return not isinstance(out, Tensor)

    def _read(self, read: Read, tensors: Sequence[Tensor]) -> None:
        """Take a planned reading of these operands and results."""
        sources = []
        for source in read.sources:
            tensor = tensors[source.place]
            if source.view is not None:
                tensor = tensor.as_strided(*source.view)
            sources.append(tensor)
        cache = () if read.cache is None else (self._caches[read.cache],)
        getattr(self._gauge, read.method)(*sources, *cache, *read.args)

    def _follows(self, event: Callable[[], Event], tensors: Sequence[Tensor]) -> bool:
        """Go on to an event, if it is one of the plan's; ``tensors``: all that it tells of."""
        if self._analysis is not None:
            return False
        met = self._register.met
        node = self._node.after(event()) if all(map(is_plain, tensors)) else None
        if node is None:
            self._register.forget(met)
            return False
        self._node = node
        return True

    def _departed(self) -> ForwardPass:
        """Return the analysis of the pass, which knows of all events so far."""
        if self._analysis is None:
            self._plans.followed(to_its_end=False)
            self._analysis = rehearse(
                self._node,
                self._begin,
                self._register,
                self._gauge,
                self._caches,
                self._where,
                self._find,
                self._outside,
                self._given,
                self._plans.has_room,
            )
        return self._analysis
