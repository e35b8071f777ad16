"""Follow one forward pass: take what module hooks report, and settle the counts at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from syops._torch import tree_leaves
from syops.ledger.rows import Ledger, Updates, merge_updates
from syops.ledger.steps import INPUT, History, Step
from syops.ops.rule import Rule, tensors_in
from syops.ops.values import ANALOG, LEARNED, Shown, Table
from syops.trace.dispatch import Dispatch
from syops.trace.foldable import decide
from syops.trace.history import step_of
from syops.trace.lineage import Provenance
from syops.trace.live import Record
from syops.trace.neurons import Library, NeuronSignal, kept, state_tensors
from syops.trace.paths import Paths
from syops.trace.rows import neuron_row
from syops.trace.settings import Settings
from syops.trace.watch import Watch, inside


class ForwardPass:
    """Follow one forward pass of a model.

    Args:
        model: any module.
        where: the modules that are being run, with their paths; the innermost one is the last.
        paths: of all modules.
        settings: how it is counted.
        watch: what sees the operators.
        history: where it goes by which operators each tensor was made; None not to ask.

    Attributes:
        tensors: what is known of the live tensors.
        repeats: which of them hold the same values.
    """

    def __init__(
        self,
        model: nn.Module,
        where: list[tuple[str, nn.Module]],
        paths: Paths,
        settings: Settings,
        watch: Watch,
        history: History | None = None,
    ) -> None:
        self._dispatch = Dispatch(model, where, paths, settings, watch, history)
        self._folds = self._dispatch.folds
        self._measurements = self._dispatch.measurements
        self.tensors = self._dispatch.tensors
        self.repeats = self._dispatch.repeats
        self._where = where
        self._watch = watch
        self._given: Sequence[Tensor] = ()
        self._history = history
        self._into_neuron: tuple[Step, ...] = ()
        self._inside_neurons = 0
        self._updates: list[Updates] = []
        self._hidden: list[list[tuple[Tensor, Record | None]]] = []

    @property
    def provenance(self) -> Provenance:
        """What the pass tells of the layers of the model."""
        return self._folds.provenance

    def begin(
        self,
        given: Sequence[Tensor],
        signals: Sequence[NeuronSignal | Shown | None],
        time_axis: int | None,
    ) -> None:
        """Begin the pass: the model is called.

        Args:
            given: the tensors that it is called with.
            signals: their values, or opaque ones; None to look one up in the data.
            time_axis: the dimension of the first tensor that counts time-steps, if one does.
        """
        self._given = given
        for tensor, signal in zip(given, signals, strict=True):
            if signal is not None:
                self.give(tensor, signal)
        for place, tensor in enumerate(given):
            self.repeats.give(place, tensor, None if place else time_axis)

    def operator(
        self, rule: Rule | None, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Execute an operator, and count what it does; ``rule``: what is known of it."""
        return self._dispatch.operator(rule, func, args, kwargs)

    def told(self, tensor: Tensor) -> None:
        """Note that values of a tensor are about to become Python numbers."""
        self._dispatch.told(tensor)

    def give(self, tensor: Tensor, signal: NeuronSignal | Shown) -> Record:
        """Record the values of a tensor that the model did not make."""
        for inner in inside(tensor):
            self.give(inner, signal)
        known = self.tensors.atoms.fresh(signal) if isinstance(signal, tuple) else signal
        record = self.tensors.put(tensor, known)
        if self._history is not None:
            record.step = Step(INPUT, "", known)
        return record

    def finish(self, output: Any, ledger: Ledger) -> frozenset[str]:
        """Finish the pass: what the model returns is used, and all counts are settled.

        Returns:
            buffers that operators took for weights and that are states. If there are any, nothing
            is settled: the pass is to be run again.
        """
        has_changed = self.tensors.has_changed_weights()
        # Run again on what it has overwritten, the model would do something else.
        if has_changed and not any(map(self.tensors.was_written, self._given)):
            states = self.tensors.states()
            if states:
                return states
        returned = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        for tensor in returned:
            self._folds.take(tensor, "what the model returns")
        for record in self.tensors.kept(besides=returned):
            record.use("what the model keeps")
        self._measurements.settle(
            ledger, has_changed, decide([self._folds.provenance]), self._history
        )
        ledger.updates = merge_updates(*ledger.updates, *self._updates)
        for operator in self._dispatch.unaccounted:
            ledger.skip(operator)
        for path in self._dispatch.unseen(besides=self._given):
            ledger.unseen[path] = None
        return frozenset()

    def hooked(self, values: Iterable[Any]) -> None:
        """Note that a hook of the innermost module, which does not run here, might read these."""
        for tensor in tensors_in(values):
            record = self.tensors.find(tensor)
            if record is not None:
                record.use(f"a hook of {self._where[-1][0] or 'the model'}")

    def update(self, library: Library, inputs: Iterable[Any]) -> None:
        """Note how far a neuron's call brings its states, whether it is watched inside or not."""
        path, neuron = self._where[-1]
        x, *states = tensors_in(inputs) or (None,)
        if x is None or x.is_nested:
            return
        steps, samples = library.layout(neuron, x)
        kept = states or tensors_in(library.states(neuron).values())
        starts = all(map(self._is_as_reset, kept))
        self._updates.append(Updates(path, 1, int(starts), steps, samples * steps))

    def _is_as_reset(self, state: Tensor) -> bool:
        """Return whether a state is a literal, or has not been written into in this pass."""
        signal = self.tensors.signal(state)
        return signal is LEARNED or (isinstance(signal, Table) and not signal.atoms)

    def enter_neuron(self, inputs: Iterable[Any]) -> None:
        tensors = tensors_in(inputs)
        for tensor in tensors:
            self._folds.take(tensor, self._where[-1][0])
        if self._history is not None and not self._inside_neurons:
            self._into_neuron = tuple(step_of(self.tensors, tensor) for tensor in tensors)
        self._inside_neurons += 1
        if self._inside_neurons == 1 and self._watch.is_innermost:
            self._watch.stop()

    def leave_neuron(self, signal: NeuronSignal, output: Any, is_declared: bool) -> None:
        """Record what a neuron sends; ``is_declared``: the user declared its signal."""
        self._inside_neurons -= 1
        if self._inside_neurons:
            return
        outputs = tensors_in((output,))
        path, neuron = self._where[-1]
        name = type(neuron).__name__
        if is_declared and outputs:
            sent = inside(outputs[0]) or outputs[:1]
            self._measurements.declared(f"{path or 'the model'} ({name})", signal, sent)
        if not self._watch.is_on:
            self._watch.start()
        # The model may read a membrane potential; a neuron may return it beside its spikes.
        states = [t for t in state_tensors(neuron) if self.tensors.find(t) is None]
        given = [(t, ANALOG) for t in (*states, *outputs[1:])] + [(t, signal) for t in outputs[:1]]
        for tensor, known in given:
            record = self.give(tensor, known)
            if self._history is not None:
                record.step = Step(name, path, record.signal, self._into_neuron)
        if outputs:
            params = self._dispatch.params(neuron.parameters())
            row = neuron_row(path, name, params, outputs[0], kept(neuron))
            self._measurements.tally(row, None)

    def enter_recurrent(self, inputs: Iterable[Any]) -> None:
        """Record the hidden state of RNN, LSTM and GRU as analog from the first step on."""
        states = tensors_in(inputs)[1:]
        self._hidden.append([(tensor, self.tensors.find(tensor)) for tensor in states])
        for tensor in states:
            self.tensors.put(tensor, ANALOG)

    def leave_recurrent(self) -> None:
        """Restore the records of the hidden state, which the cell's caller may know better."""
        for tensor, record in self._hidden.pop():
            self.tensors.put_back(tensor, record)
