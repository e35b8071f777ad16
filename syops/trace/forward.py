"""Follow one forward pass: take what module hooks report, and settle the counts at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from syops._torch import tree_leaves
from syops.ledger.steps import INPUT, History, Step
from syops.ledger.updates import Updates, merge_updates
from syops.ops.rule import Rule
from syops.ops.values import ANALOG, LEARNED, UNKNOWN, Shown, is_constant, kind_of
from syops.trace.axes import NOWHERE, Axes, along
from syops.trace.dispatch import Dispatch
from syops.trace.foldable import decide
from syops.trace.gauge import Gauge
from syops.trace.history import step_of
from syops.trace.lineage import LayerTrail
from syops.trace.live import Tensors
from syops.trace.neurons import NeuronSignal
from syops.trace.neurons.library import TimeIn
from syops.trace.paths import Paths
from syops.trace.plan.recorder import Recorder
from syops.trace.record import Record
from syops.trace.rows import neuron_row
from syops.trace.settings import Settings
from syops.trace.settling import Accounts
from syops.trace.watch import Watch, inside


class ForwardPass:
    """One forward pass of a model, that is analysed while it runs.

    Args:
        model: any module.
        where: the modules that are being run, with their paths; the innermost one is the last.
        paths: of all modules.
        settings: how it is counted.
        watch: what sees the operators.
        tensors: the parameters and buffers of the model.
        gauge: takes the readings.
        history: where it goes by which operators each tensor was made; None not to ask.
        recorder: what later passes are told of this one; None where there are none.

    Attributes:
        tensors: what is known of the live tensors.
        repeats: which of them hold the same values.
        dispatch: what counts the operators.
        given: the tensors that the model was called with.
    """

    def __init__(
        self,
        model: nn.Module,
        where: list[tuple[str, nn.Module]],
        paths: Paths,
        settings: Settings,
        watch: Watch,
        tensors: Tensors,
        gauge: Gauge,
        history: History | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.tensors = tensors
        self.dispatch = Dispatch(
            model, where, paths, settings, watch, tensors, gauge, history, recorder
        )
        self._folds = self.dispatch.folds
        self._measurements = self.dispatch.measurements
        self.repeats = self.dispatch.repeats
        self._model = model
        self._has_values = settings.values
        self._where = where
        self.given: Sequence[Tensor] = ()
        self._history = history
        self._recorder = recorder
        self._into_neuron: tuple[Step, ...] = ()
        self._inside_neurons = 0
        self._updates: list[Updates] = []
        self._steps: dict[str, int | None] = {}
        """The next time-step of each neuron, where it is known."""
        self._arrived: Record | None = None
        """What the neuron is called with."""
        self._hidden: list[list[tuple[Tensor, Record | None]]] = []
        self._has_changed: bool | None = None

    @property
    def provenance(self) -> LayerTrail:
        """What the pass tells of the layers of the model."""
        return self._folds.provenance

    def begin(
        self,
        given: Sequence[Tensor],
        signals: Sequence[NeuronSignal | Shown | None],
        time_axis: int | None = None,
        differ: bool | None = None,
        axes: Axes = NOWHERE,
    ) -> None:
        """Begin the pass: the model is called.

        Args:
            given: the tensors that it is called with.
            signals: their values, or opaque ones; None to look one up in the data.
            time_axis: the dimension of the first tensor that counts time-steps, if one does.
            differ: whether these time-steps differ, if that is known.
            axes: where the time-steps and samples of the first tensor are.
        """
        if self._recorder is not None:
            self._recorder.begun(given, signals, time_axis, differ, axes)
        self.given = given
        for tensor, signal in zip(given, signals, strict=True):
            if signal is not None:
                self.give(tensor, signal)
        if axes != NOWHERE:
            record, known = self.tensors.known(given[0])
            if record is None and kind_of(known) is UNKNOWN:
                record = self.tensors.put(given[0], UNKNOWN)
            if record is not None:
                record.time, record.samples = axes
        for place, tensor in enumerate(given):
            self.repeats.give(place, tensor, *(() if place else (time_axis, differ)))

    def called(
        self,
        given: Sequence[Tensor],
        signals: Sequence[NeuronSignal | None],
        call: int,
        repeats: Tensor | None = None,
        time: tuple[int, bool] | None = None,
        axes: Axes = NOWHERE,
    ) -> None:
        """Note that the model, or a part of it, is called by code that is not its own.

        Tensors that an earlier call made, or code in between, are known already.

        Args:
            given: the tensors that it is called with.
            signals: their values; None to look one up in the data.
            call: number of the call in the pass.
            repeats: an input of the call before with the same values as the first tensor.
            time: the dimension of the first tensor that counts time-steps, and whether these
                differ; None where no dimension does.
            axes: where the time-steps and samples of the tensors are, of which it is not known.
        """
        self.dispatch.earlier.read(given)
        for place, (tensor, signal) in enumerate(zip(given, signals, strict=True)):
            is_new = self.tensors.find(tensor) is None
            record, known = self.tensors.known(tensor)
            if kind_of(known) is UNKNOWN:
                if signal is not None:
                    self.give(tensor, signal)
                elif record is None:
                    self.tensors.put(tensor, UNKNOWN)
            elif not is_new:
                continue
            self.repeats.hand(tensor, (call, place), *((None, None) if place else (repeats, time)))
        for place, tensor in enumerate(given):
            record = self.tensors.find(tensor)
            if record is None or record.fixed:
                continue
            if record.time is None:
                record.time = axes.time
            if record.samples is None and not record.mixed and not place:
                record.samples = axes.samples

    def operator(
        self, rule: Rule | None, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Execute an operator, and count what it does; ``rule``: what is known of it."""
        return self.dispatch.operator(rule, func, args, kwargs)

    def executed(
        self, rule: Rule | None, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> Any:
        """Count an operator that was executed, with this result."""
        execute, self.dispatch.execute = self.dispatch.execute, lambda *_: out
        try:
            return self.dispatch.operator(rule, func, args, kwargs)
        finally:
            self.dispatch.execute = execute

    def read_out(self, tensor: Tensor) -> None:
        """Note that values of a tensor are about to become Python numbers."""
        if self._recorder is not None:
            self._recorder.read_out(tensor)
        self.dispatch.read_out(tensor)

    def give(self, tensor: Tensor, signal: NeuronSignal | Shown) -> Record:
        """Record the values of a tensor that the model did not make."""
        for inner in inside(tensor):
            self.give(inner, signal)
        known = self.tensors.atoms.fresh(signal) if isinstance(signal, tuple) else signal
        record = self.tensors.put(tensor, known)
        if self._history is not None:
            record.step = Step(INPUT, "", known)
        return record

    def finish(self, output: Any, accounts: Accounts, samples: int) -> frozenset[str]:
        """Finish the pass, in which the model was called once; see `returned` and `settle`.

        Args:
            output: what the model returned.
            accounts: where the counts go.
            samples: in the batch.

        Returns:
            buffers that operators took for weights and that are states. If there are any, nothing
            is settled: the pass is to be run again.
        """
        states = self.returned(output)
        if not states:
            self.settle(accounts, samples, output)
        return states

    def returned(self, output: Any) -> frozenset[str]:
        """Note what the model returns and keeps, which is used.

        Returns:
            buffers that operators took for weights and that are states: the pass does not count.
        """
        self._has_changed = has_changed = self.tensors.has_changed_weights()
        # Run again on what it has overwritten, the model would do something else.
        if has_changed and not any(map(self.tensors.was_written, self.given)):
            states = self.tensors.states()
            if states:
                if self._recorder is not None:
                    self._recorder.give_up()
                return states
        returned = _tensors(output)
        for tensor in returned:
            self._folds.take(tensor, "what the model returns")
        self._folds.read_weights(returned, returned=True)
        for record in self.tensors.kept(besides=returned):
            record.use("what the model keeps")
        return frozenset()

    def settle(self, accounts: Accounts, samples: int, output: Any = None) -> None:
        """Settle the counts of the pass.

        Args:
            accounts: where the counts go.
            samples: in the batch.
            output: what the model returned, if later passes are told of this one.
        """
        has_changed = self._has_changed
        if has_changed is None:  # parts of the model were called, and not the model
            has_changed = self.tensors.has_changed_weights()
        unseen = self.dispatch.outside.unseen(besides=self.given)
        account = self._measurements.account(
            has_changed,
            decide([self._folds.provenance]),
            merge_updates(*self._updates),
            tuple(self.dispatch.unaccounted),
            unseen,
        )
        if self._recorder is not None:
            returned = _tensors(output)
            self._recorder.ended(self._model, self.given, returned, has_changed, unseen, account)
        accounts.add(account, self._measurements.gauge, samples)

    def hooked(self, tensors: Sequence[Tensor]) -> None:
        """Note that a hook of the innermost module, which does not run here, might read these."""
        if self._recorder is not None:
            self._recorder.give_up()
        for tensor in tensors:
            record = self.tensors.find(tensor)
            if record is not None:
                record.use(f"a hook of {self._where[-1][0] or 'the model'}")

    def update(
        self,
        x: Tensor,
        lies: TimeIn | None,
        steps: int,
        samples: int,
        states: Sequence[Tensor],
    ) -> None:
        """Note how far a neuron's call brings its states, whether it is watched inside or not.

        Args:
            x: what it is called with.
            lies: where ``x`` has its time-steps; None: it is one.
            steps: the time-steps that the call goes through.
            samples: those that it brings forward.
            states: its states.
        """
        path, _ = self._where[-1]
        self.dispatch.earlier.read(states)
        starts = all(map(self._is_as_reset, states))
        updates = Updates(path, 1, int(starts), steps, samples * steps)
        if self._recorder is not None:
            self._recorder.updated(updates, x, lies, steps, samples, states)
        self.updated(updates, x, lies)

    def updated(self, updates: Updates, x: Tensor, lies: TimeIn | None) -> None:
        """Enter what a neuron's call did to its states, and which time-steps ``x`` has by it.

        Calls since its reset tell; where the states are older, what is known of ``x`` stays.
        """
        self._updates.append(updates)
        first = 0 if updates.starts else self._steps.get(updates.path)
        self._steps[updates.path] = None if first is None else first + updates.steps
        record = self.tensors.find(x)
        if record is None or record.name or not self._has_values:
            return
        if first is not None and (lies is None or updates.steps == 1):
            record.time = first
        elif first == 0 and lies is not None:
            record.time = along(x.shape, lies.dim, updates.steps, lies.inside)

    def _is_as_reset(self, state: Tensor) -> bool:
        """Return whether a state is a literal, or has not been written into in this pass.

        What an earlier pass computed is neither.
        """
        record = self.tensors.find(state)
        if record is not None and record.earlier:
            return False
        if any(state is buffer for buffer in self.tensors.buffered):
            return not self.tensors.was_written(state)
        signal = self.tensors.signal(state)
        return signal is LEARNED or is_constant(signal)

    def sent(self, outputs: Sequence[Tensor], kept: int) -> None:
        """Count the updates of a neuron that is watched inside when its ``forward`` returns.

        Args:
            outputs: what it returned: what it sends, and the states that its caller keeps.
            kept: the number of variables that it keeps itself.
        """
        path, neuron = self._where[-1]
        if self._recorder is not None:
            self._recorder.sent(self._where[-1], outputs, kept)
        if outputs:
            states = max(kept, len(outputs) - 1)
            row = neuron_row(path, type(neuron).__name__, 0, outputs[0], states)
            self._measurements.tally(row, None)

    def enter_neuron(self, tensors: Sequence[Tensor]) -> None:
        """Note that a neuron, which is not watched inside, is called with these tensors."""
        if self._recorder is not None:
            self._recorder.entered(self._where[-1], tensors)
        for tensor in tensors:
            self._folds.take(tensor, self._where[-1][0])
        if self._history is not None and not self._inside_neurons:
            self._into_neuron = tuple(step_of(self.tensors, tensor) for tensor in tensors)
        if not self._inside_neurons:
            self._arrived = self.tensors.find(tensors[0]) if tensors else None
        self._inside_neurons += 1

    def leave_neuron(
        self,
        signal: NeuronSignal,
        outputs: Sequence[Tensor],
        states: Sequence[Tensor],
        kept: int,
        is_declared: bool,
    ) -> None:
        """Record what a neuron sends when its ``forward`` returns.

        Args:
            signal: the values of its first output.
            outputs: what it returned.
            states: the tensors that it keeps. The model may read a membrane potential; a neuron
                may return it beside its spikes.
            kept: the number of variables that these are.
            is_declared: its signal is taken on trust.
        """
        path, neuron = self._where[-1]
        name = type(neuron).__name__
        if self._recorder is not None:
            self._recorder.left(self._where[-1], outputs, states, kept, signal, is_declared)
        self._inside_neurons -= 1
        if self._inside_neurons:
            return
        if is_declared and outputs:
            sent = inside(outputs[0]) or outputs[:1]
            self._measurements.declared(f"{path or 'the model'} ({name})", signal, sent)
        unknown = [tensor for tensor in states if self.tensors.find(tensor) is None]
        given = [(t, ANALOG) for t in (*unknown, *outputs[1:])] + [(t, signal) for t in outputs[:1]]
        for tensor, known in given:
            record = self.give(tensor, known)
            record.computed = True
            if self._history is not None:
                record.step = Step(name, path, record.signal, self._into_neuron)
        if outputs:
            self._hand_on(outputs)
            params = self.dispatch.params(neuron.parameters())
            self._measurements.tally(neuron_row(path, name, params, outputs[0], kept), None)
        if self._recorder is not None:
            self._recorder.analysed()

    def _hand_on(self, outputs: Sequence[Tensor]) -> None:
        """Record that what a neuron sends has time-steps and samples where its input has them."""
        arrived = self._arrived
        if arrived is None:
            return
        for tensor in outputs:
            record = self.tensors.latest(tensor)
            for axis in ("time", "samples"):
                place = getattr(arrived, axis)
                if isinstance(place, int) or record.shape == arrived.shape:
                    setattr(record, axis, place)
            record.mixed = arrived.mixed

    def enter_recurrent(self, states: Sequence[Tensor]) -> None:
        """Record the hidden state of RNN, LSTM and GRU as analog from the first step on."""
        if self._recorder is not None:
            self._recorder.give_up()
        self._hidden.append([(tensor, self.tensors.find(tensor)) for tensor in states])
        for tensor in states:
            self.tensors.put(tensor, ANALOG)

    def leave_recurrent(self) -> None:
        """Restore the records of the hidden state, which the cell's caller may know better."""
        for tensor, record in self._hidden.pop():
            self.tensors.put_back(tensor, record)


def _tensors(output: Any) -> list[Tensor]:
    """Return the tensors that a model returned."""
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
