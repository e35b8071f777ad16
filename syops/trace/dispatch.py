"""One forward pass: every operator is seen where it is executed, and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.overrides import _get_current_function_mode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from syops._torch import parts_of
from syops.errors import SyopsRuntimeError, SyopsValueError
from syops.ledger.rows import Ledger, Updates, merge_updates
from syops.ledger.steps import INPUT, OVERWRITES, PARAMETER, WRITE, Arrival, History, Step, made
from syops.ops.moves import KEEP, LIFTS, OVERWRITE, PADS, VIEWS
from syops.ops.pointwise import has_threshold
from syops.ops.recipes import recipe_of
from syops.ops.reductions import SOFTMAX
from syops.ops.registry import PARTS, Find, find
from syops.ops.rule import (
    Call,
    Cost,
    Kernel,
    Normalisation,
    Operand,
    Product,
    Rule,
    Tally,
    canonical,
    tensors_in,
)
from syops.ops.traits import Traits, traits_of
from syops.ops.values import (
    ANALOG,
    EMPTY,
    LEARNED,
    UNKNOWN,
    Shown,
    Signal,
    Table,
    constant,
    kind_of,
)
from syops.trace.filling import Filling, box_in, layout_of, moved_out, written_into
from syops.trace.foldable import decide
from syops.trace.lineage import (
    Layer,
    Padding,
    Provenance,
    Result,
    Slots,
    Use,
    View,
    views_after,
)
from syops.trace.live import Record, Tensors, overlap, storage_of
from syops.trace.measure import Measurements, Unnormalised
from syops.trace.neurons import Library, NeuronSignal, kept, state_tensors
from syops.trace.neurons.spikingjelly import decomposed
from syops.trace.paths import Paths
from syops.trace.reads import Reads
from syops.trace.repeats import Repeats
from syops.trace.rows import call_site, neuron_row, row_of
from syops.trace.states import tensors_of
from syops.trace.weights import applies_its_weights

RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_ALONG = (*KEEP, "transpose", "expand")
"""Moves that an attention does between its scale and its product."""
_ALIAS = torch.ops.aten.alias.default
_SCALED = torch.ops.aten.mul.Scalar
"""By what an attention scales; Python's multiplication by a number is another overload."""
_SAFE = "_safe_softmax"
"""By what torch's attention and `flex_attention` soften."""


class ForwardPass(TorchDispatchMode):
    """One forward pass."""

    def __init__(
        self,
        model: nn.Module,
        where: list[tuple[str, nn.Module]],
        paths: Paths,
        measurements: Callable[[Tensors, Repeats], Measurements],
        execute: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any],
        strict: bool,
        history: History | None,
        given: Sequence[Tensor],
        reads: bool = True,
        find: Find = find,
        states: Set[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.tensors = Tensors(model, states)
        self.repeats = Repeats(self.tensors, has_values=reads)
        self.measurements = measurements(self.tensors, self.repeats)
        self.provenance = Provenance()
        self.failed_in = ""
        self._model = model
        self._given = given
        self._where = where
        self._paths = paths
        self._execute = execute
        self._strict = strict
        self._find = find
        self._history = history
        self._into_neuron: tuple[Step, ...] = ()
        self._told: set[int] = set()
        self._unaccounted: list[str] = []
        self._inside_neurons = 0
        self._updates: list[Updates] = []
        self._reads = Reads(self._read_out) if reads else None
        self._reads_data = False
        self._has_read = False
        self._has_asked = False
        self._unseen: dict[int, str] = {}
        self._held: tuple[Tensor, ...] = ()
        self._hidden: list[list[tuple[Tensor, Record | None]]] = []
        self._unnormalised: Any = WeakIdKeyDictionary()  # Tensor: Unnormalised
        self._watching = False

    def give(self, tensor: Tensor, signal: NeuronSignal | Shown) -> Record:
        """Say which values a tensor carries that the model did not make."""
        for inner in _inside(tensor):
            self.give(inner, signal)
        known = self.tensors.atoms.fresh(signal) if isinstance(signal, tuple) else signal
        record = self.tensors.put(tensor, known)
        if self._history is not None:
            record.step = Step(INPUT, "", known)
        return record

    def start(self) -> None:
        """Begin to watch."""
        if self._reads is not None:
            self._reads.__enter__()
        self.__enter__()
        self._watching = True

    def stop(self) -> None:
        """Watch no longer, also where an interrupt came inside a neuron."""
        if self._watching:
            self._watching = False
            # An interrupt inside torch may have left others above: they are put back with the rest.
            if _get_current_dispatch_mode() is self:
                self.__exit__(None, None, None)
            if self._reads is not None and _get_current_function_mode() is self._reads:
                self._reads.__exit__(None, None, None)

    def finish(self, output: Any, ledger: Ledger) -> frozenset[str]:
        """The pass is over: what is returned is used, and all counts are settled.

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
            self._take(tensor, "what the model returns")
        for record in self.tensors.kept(besides=returned):
            _use(record, "what the model keeps")
        self.measurements.settle(ledger, has_changed, decide([self.provenance]), self._history)
        ledger.updates = merge_updates(*ledger.updates, *self._updates)
        for operator in self._unaccounted:
            ledger.skip(operator)
        if self._unseen:
            held = (*self._given, *self._held, *tensors_of(self._model))
            known = {tensor._cdata for tensor in held}
            for key, path in self._unseen.items():
                if key not in known:
                    ledger.unseen[path] = None
        return frozenset()

    def fail(self) -> None:
        """Remember the innermost module that raised."""
        if not self.failed_in and self._where:
            path, module = self._where[-1]
            self.failed_in = f"{path} ({type(module).__name__})" if path else type(module).__name__

    def hooked(self, values: Iterable[Any]) -> None:
        """A hook of the innermost module, which does not run here, might read these."""
        for tensor in tensors_in(values):
            _use(self.tensors.find(tensor), f"a hook of {self._where[-1][0] or 'the model'}")

    def update(self, library: Library, inputs: Iterable[Any]) -> None:
        """A neuron is called, whether it is looked into or not."""
        path, neuron = self._where[-1]
        x, *states = tensors_in(inputs) or (None,)
        if x is None or x.is_nested:
            return
        steps, samples = library.layout(neuron, x)
        kept = states or tensors_in(library.states(neuron).values())
        starts = all(map(self._is_as_reset, kept))
        self._updates.append(Updates(path, 1, int(starts), steps, samples * steps))

    def _is_as_reset(self, state: Tensor) -> bool:
        """Whether a state is a literal, or has not been written into in this pass."""
        signal = self.tensors.signal(state)
        return signal is LEARNED or (isinstance(signal, Table) and not signal.atoms)

    # Neurons are not looked into; their work is one row.

    def enter_neuron(self, inputs: Iterable[Any]) -> None:
        tensors = tensors_in(inputs)
        for tensor in tensors:
            self._take(tensor, self._where[-1][0])
        if self._history is not None and not self._inside_neurons:
            self._into_neuron = tuple(self._step(tensor) for tensor in tensors)
        self._inside_neurons += 1
        if self._inside_neurons == 1 and self._is_innermost():
            self.stop()

    def _is_innermost(self) -> bool:
        """Whether no mode of the model's own was entered after those of this pass."""
        return _get_current_dispatch_mode() is self and (
            self._reads is None or _get_current_function_mode() is self._reads
        )

    def leave_neuron(self, signal: NeuronSignal, output: Any, is_declared: bool) -> None:
        """The neuron's ``forward`` returned; ``is_declared``: its signal is taken on trust."""
        self._inside_neurons -= 1
        if self._inside_neurons:
            return
        outputs = tensors_in((output,))
        path, neuron = self._where[-1]
        name = type(neuron).__name__
        if is_declared and outputs:
            sent = _inside(outputs[0]) or outputs[:1]
            self.measurements.declared(f"{path or 'the model'} ({name})", signal, sent)
        if not self._watching:
            self.start()
        # The model may read a membrane potential; a neuron may return it beside its spikes.
        states = [t for t in state_tensors(neuron) if self.tensors.find(t) is None]
        given = [(t, ANALOG) for t in (*states, *outputs[1:])] + [(t, signal) for t in outputs[:1]]
        for tensor, known in given:
            record = self.give(tensor, known)
            if self._history is not None:
                record.step = Step(name, path, record.signal, self._into_neuron)
        if outputs:
            params = self._params(neuron.parameters())
            row = neuron_row(path, name, params, outputs[0], kept(neuron))
            self.measurements.tally(row, None)

    def enter_recurrent(self, inputs: Iterable[Any]) -> None:
        """The hidden state of RNN, LSTM and GRU is analog from the first step on."""
        states = tensors_in(inputs)[1:]
        self._hidden.append([(tensor, self.tensors.find(tensor)) for tensor in states])
        for tensor in states:
            self.tensors.put(tensor, ANALOG)

    def leave_recurrent(self) -> None:
        """Outside the cell they are what they were."""
        for tensor, record in self._hidden.pop():
            self.tensors.put_back(tensor, record)

    # Operators

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: torch must not load its compiler only to keep it away from this mode."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if types and any(map(_is_wrapper, types)):
            return NotImplemented  # what it does with the tensors inside of it is seen
        if isinstance(func, HigherOrderOperator):
            return self._by_parts(func, args, kwargs)
        rule = self._find(func)
        if rule is None or rule is PARTS:
            with self:
                out = decomposed(func, args, kwargs)
            if out is not NotImplemented:
                return out
        traits = traits_of(func)
        read = {name: value for name, value in kwargs.items() if name not in traits.outs}
        operands = tensors_in((*args, *read.values()) if read else args)
        known = [self.tensors.known(tensor) for tensor in operands]
        records, signals = [], {}
        for tensor, (record, signal) in zip(operands, known, strict=True):
            records.append((tensor, record))
            signals[id(tensor)] = signal
            if record is None:
                if signal is LEARNED:
                    self.tensors.read.add(tensor._cdata)
                else:
                    self._not_seen(tensor, traits)
        before = _Before(
            records,
            [(target, self.tensors.aliases(target)) for target in traits.written(args, kwargs)],
            self._is_fixed(traits, args, read, known),
        )
        numbered = self.repeats.before(traits, operands, known)
        seen = args
        if traits.reshapes:  # rules ask for the shape that the tensor had
            before_it, operands[0] = operands[0], _ALIAS(operands[0])
            signals[id(operands[0])] = signals[id(before_it)]
            seen = (operands[0], *args[1:])
        out = self._execute(func, args, kwargs)
        call = Call(
            func,
            seen,
            read,
            out,
            operands,
            signals,
            self.tensors.atoms,
            self.tensors.name,
            self._reads_data,
            self.tensors.recipe,
        )
        if rule is None:
            self._unknown(call, before)
        elif rule.moves:
            self._moved(rule, traits, call, before)
        else:
            self._computed(rule, traits, call, before)
        if before.fixed:
            parts = frozenset().union(*map(self.tensors.parts, operands))
            for tensor in tensors_in((out,)):
                record = self.tensors.latest(tensor)
                record.fixed, record.parts = True, parts
        if numbered is not None and rule is not None:
            self.repeats.after(rule, traits, call, numbered)
        if self._history is not None:
            self._remember(self._history, rule, call, before)
        return out

    def _by_parts(
        self, func: HigherOrderOperator, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run an operator on functions (cond, while_loop, ...) as the operators that it calls."""
        kernel = parts_of(func)
        if kernel is None:
            raise SyopsRuntimeError(
                f"{func.name()} in {self._where[-1][0] or 'the model'}: syops cannot watch what "
                "this operator calls; call its functions directly while you count"
            )
        with self:
            return kernel(*args, **kwargs)

    def _is_fixed(
        self,
        traits: Traits,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        known: Sequence[tuple[Record | None, Signal]],
    ) -> bool:
        """Whether all that an operator reads is learned or constant, and it draws no lots."""
        if traits.is_literal:
            return not (self._has_read or self._has_asked)
        for record, signal in known:
            if signal is not LEARNED if record is None else not record.fixed:
                return False
        if traits.is_random and traits.draws(args, kwargs):
            return False
        if not (self._has_read or self._has_asked):
            return True
        # A number among the arguments may have been read out of data; 0 and 1 may be truth values.
        return not any(self._has_read or n in (0, 1) for n in traits.numbers_in(args, kwargs))

    def _read_out(self, tensor: Tensor) -> None:
        """Values of a tensor are about to become numbers of Python's."""
        record, signal = self.tensors.known(tensor)
        if signal is LEARNED if record is None else record.fixed:
            return
        self._reads_data |= kind_of(signal) in (ANALOG, UNKNOWN)
        if tensor.dtype == torch.bool:
            self._has_asked = True
        else:
            self._has_read = True

    def _remember(self, history: History, rule: Rule | None, call: Call, before: _Before) -> None:
        """Note how the results of an operator were made."""
        path = self._where[-1][0]
        site = call_site()
        costs = rule.cost(call) if rule is not None else ()
        name = canonical(call.func)
        operator = costs[0].operator if costs else name
        synaptic = any(isinstance(cost, Product) for cost in costs)
        moved = rule is not None and rule.moves
        inputs = tuple(self._step(tensor, record) for tensor, record in before.records)
        if name in LIFTS:  # a literal
            operator, inputs = "torch.tensor", ()
        if has_threshold(call):
            history.thresholds.add(path)
        for target, aliases in before.writes:
            read = inputs[1:] if name in OVERWRITES else inputs
            own = self.tensors.latest(target)
            own.step = made(operator, path, own.signal, read, synaptic, moved, site)
            for old, now in self.tensors.rewritten(aliases):
                if now is not own:
                    parts = (old.step, own.step) if old.step else (own.step,)
                    now.step = made(WRITE, path, now.signal, parts, moved=True)
        written = {id(target) for target, _ in before.writes}
        for tensor in tensors_in((call.out,)):
            if id(tensor) not in written:
                record = self.tensors.latest(tensor)
                record.step = made(operator, path, record.signal, inputs, synaptic, moved, site)

    def _step(self, tensor: Tensor, record: Record | None = None) -> Step:
        """How a tensor was made."""
        record = record or self.tensors.find(tensor)
        if record is not None and record.step is not None:
            return record.step
        signal = self.tensors.signal(tensor)
        return Step(PARAMETER if signal is LEARNED else "", self.tensors.name(tensor), signal)

    def _unknown(self, call: Call, before: _Before) -> None:
        """No rule: the operator is named, and its result looked at in the data.

        What it makes of weights alone are weights, prepared once.
        """
        if before.fixed and _reads_learned(call):
            for tensor in tensors_in((call.out,)):
                self.tensors.put(tensor, LEARNED)
            return
        place = f"{call.func.name()} in {self._where[-1][0] or 'the model'}"
        if self._strict:
            raise SyopsValueError(
                f"{place}: no rule says what this operator costs; "
                "with strict=False it is listed in report.unaccounted instead"
            )
        self._unaccounted.append(place)
        if self._history is not None and any(
            self._step(tensor, record).spoils for tensor, record in before.records
        ):
            self._history.unknown[place] = None
        for tensor, _ in before.records:
            self._take(tensor, place)
        for target, aliases in before.writes:
            _overwrite(aliases, place)
            self.tensors.written(target, UNKNOWN, aliases)

    def _moved(self, rule: Rule, traits: Traits, call: Call, before: _Before) -> None:
        """The operator hands values on without reading them."""
        outputs = tensors_in((call.out,))
        signals = _depending(rule, call, before, outputs)
        if not before.fixed:
            self._read_weights(call.tensors)
        if before.writes and not traits.only_geometry:
            self._copied(call, before, signals[0])
            return
        handed = [record.view if record else None for _, record in before.records]
        operands = list(zip(call.tensors, handed, strict=True))
        views = views_after(traits.name, call.args, operands, outputs)
        views = _taken_out(before.records, outputs, traits.name) or views
        padding = self._padding(traits.name, call, before, outputs)
        base, first = before.records[0] if before.records else (None, None)
        for place, (tensor, signal, view) in enumerate(zip(outputs, signals, views, strict=True)):
            written = bool(before.writes)
            record = self.tensors.put(tensor, signal, view, padding, base, written)
            if first is not None:
                record.scores, record.softened = first.scores, first.softened
                record.scaled = first.scaled if traits.name in _ALONG else None
            if signal is LEARNED and not written:
                record.recipe = recipe_of(call, tensor, place)
        if self._unnormalised and not before.writes and any(views):
            self._move_unnormalised(call, outputs)

    def _padding(
        self, name: str, call: Call, before: _Before, outputs: Sequence[Tensor]
    ) -> Padding | None:
        """Whether the results are a padded tensor, and of what."""
        if not before.records:
            return None
        source, record = before.records[0]
        if name in KEEP:
            return record.padding if record else None
        crops = name in PADS and min(call.args[1], default=0) < 0
        grows = name in PADS and all(out.numel() > source.numel() for out in outputs)
        padding = self.measurements.padding(source) if grows and not crops else None
        for _, other in before.records:
            if other is not None and other.padding is not None:
                other.padding.uses += 1
        return padding

    def _copied(self, call: Call, before: _Before, signal: Signal) -> None:
        """``copy_``: also how circular padding and preallocated results are written."""
        source, record = before.records[-1]
        ((target, aliases),) = before.writes
        known = [alias for _, alias in aliases]
        canvas = [alias for alias in known if alias.signal in (EMPTY, constant(0))]
        padding = None
        if record is not None and any(record is alias for alias in known):
            padded = next((alias.padding for alias in known if alias.padding), None)
            padding = replace(padded, uses=0) if padded else None
        elif any(alias.is_padded_by(target) for alias in canvas):
            padding = self.measurements.padding(source)
        if record is not None and record.padding is not None:
            record.padding.uses += 1
        held = _fill(source, record, target, aliases)
        if overlap(target, source):  # some of it was written before it was read
            signal = self.tensors.atoms.joined((signal,))
        self.tensors.written(target, signal, aliases, padding, before.fixed)
        for key, (view, filling) in held.items():
            self.tensors.hold(key, view, filling)

    def _computed(self, rule: Rule, traits: Traits, call: Call, before: _Before) -> None:
        """The operator reads values and makes new ones."""
        for key, signal in call.signals.items():
            if signal == EMPTY:
                call.signals[key] = UNKNOWN
        view = self._bias_added(traits.name, call, before)
        outputs = tensors_in((call.out,))
        signals = _depending(rule, call, before, outputs)
        prepared = before.fixed and any(signal is LEARNED for signal in signals)
        own = None
        if view is None:
            made = [self._charge(cost, call, prepared) for cost in rule.cost(call)]
            view = next((each.view for each in made if each and each.view), None)
            own = next((each.result for each in made if each and each.read is None), None)
            readers = {id(each.read): each.result for each in made if each}
            for tensor, record in before.records:
                by = readers.get(id(tensor))
                _use(record, traits.name, by if by and by.reads else None)
            if not before.fixed and not any(each and each.result.layer for each in made):
                self._read_weights(call.tensors)
        if not before.records and isinstance(self._where[-1][1], RECURRENT):
            signals = [ANALOG] * len(outputs)  # the hidden state, analog from step 0 on
        if traits.name == "_local_scalar_dense" and not (self._reads and self._reads.checks):
            self._read_out(call.args[0])
        for target, aliases in before.writes:
            _overwrite((a for a in aliases if not view or a[0] != target._cdata), traits.name)
            known = next((s for t, s in zip(outputs, signals, strict=True) if t is target), ANALOG)
            if traits.name not in OVERWRITE and any(overlap(target, t) for t in call.tensors):
                known = UNKNOWN  # what was computed may have been computed with
            self.tensors.written(target, known, aliases, fixed=before.fixed)
        written = {id(target) for target, _ in before.writes}
        for place, (tensor, signal) in enumerate(zip(outputs, signals, strict=True)):
            if id(tensor) not in written or view:
                record = self.tensors.put(
                    tensor, signal, view if place == 0 else None, written=id(tensor) in written
                )
                if signal is LEARNED and id(tensor) not in written:
                    record.recipe = recipe_of(call, tensor, place)
        standing = [r for _, r in before.records if r is not None and (r.scores or r.softened)]
        if own is not None or (standing and not rule.counted):
            softmax = traits.name if traits.name in SOFTMAX else ""
            self._attend(softmax, outputs, standing, own)
        elif call.func is _SCALED and call.args[1] and call.out.is_floating_point():
            (source, record), *_ = before.records
            record = record or self.tensors.put(source, call.signal(source))
            self.tensors.latest(call.out).scaled = (float(call.args[1]), record)

    def _charge(self, cost: Cost, call: Call, prepared: bool) -> _Made | None:
        """Put a cost into its row; ``prepared``: the result is a weight, made once for all samples.

        Returns what it gave, if its weights may be changed.
        """
        path, module = self._where[-1]
        counted = not isinstance(cost, Tally)
        params = self._params(module._parameters.values()) if counted else 0
        site = call_site()
        of_two = False
        if isinstance(cost, Product) and cost.operator in ("matmul", "linear"):
            cost = self._in_attention(cost)
            of_two = cost.pairs is not None or cost.operator == "q @ k"
        row = row_of(cost, path, params, call.out)
        match cost:
            case Product():
                for operand in cost.operands:
                    if operand.signal is not None:
                        self.tensors.put(operand.tensor, operand.signal)
                prepared = prepared or cost.prepared
                made = _Made(Result(None)) if of_two else self._result_of(cost, call)
                before = self._unnormalised.get(made.read) if made and made.result.reads else None
                steps = self._arriving(cost, before)
                result = made.result if made else None
                self.measurements.product(row, site, cost, prepared, result, before, steps)
                return made
            case Normalisation() if prepared:
                self.measurements.tally(row, site, prepared)
            case Normalisation():
                made = self._normalised(cost, call)
                self.measurements.normalisation(row, site, made.result if made else None)
                return made
            case Tally():
                self.measurements.tally(row, site, prepared or cost.prepared)
        return None

    # What can be folded is decided when the pass is over: of results of layers, and of what reads
    # them, it is noted which they are.

    def _result_of(self, cost: Product, call: Call) -> _Made | None:
        """What a product with weights gives."""
        if len(cost.operands) != 1:
            return None
        path, module = self._where[-1]
        layer, slots = self._layer_of(cost, call)
        if layer is None and cost.channel is None:
            return None
        (operand,), kernel = cost.operands, cost.kernel
        parts = frozenset[str]()
        reads = None
        if layer is not None and kernel is not None and cost.applied is not None:
            weights = (cost.applied, kernel.bias)
            parts = parts.union(*(self.tensors.parts(w) for w in weights if w is not None))
            shifts = slots is None or bool(slots.bias)
            # A recurrent layer may go step by step or not, and add its bias apart or not.
            if shifts and kernel.even and not isinstance(module, RECURRENT):
                reads = self._read_by(operand)
        result = self.provenance.add(Result(layer, path, parts, slots, reads))
        if cost.channel is None:
            result.uses.append(Use(cost.operator))
            return _Made(result, operand.tensor)
        channels = call.out.shape[cost.channel]
        return _Made(result, operand.tensor, View((result,), cost.channel, channels))

    def _layer_of(self, cost: Product, call: Call) -> tuple[Layer | None, Slots | None]:
        """The layer whose weights a product applies, if they can be changed."""
        kernel, applied = cost.kernel, cost.applied
        if kernel is None or applied is None or call.signal(applied) is not LEARNED:
            return None, None
        _, module = self._where[-1]
        path = self._paths.first(module)
        if (
            applies_its_weights(module)
            and self._is_own(module, "weight", applied)
            and (self._is_own(module, "bias", kernel.bias) or _adds_bias_apart(module, kernel))
        ):
            return Layer(path), None
        slots = self._slots_of(cost.weight, applied, kernel)
        return (Layer(path, cost.weight) if slots else None), slots

    def _is_own(self, module: nn.Module, name: str, tensor: Tensor | None) -> bool:
        """Whether a tensor is the parameter of that name of a module, or what is made of it."""
        if name not in module._parameters:
            return tensor is not None
        own = module._parameters[name]
        if own is None or tensor is None:
            return own is tensor
        return self.tensors.name(tensor) == self.tensors.name(own) != ""

    def _slots_of(self, name: str, applied: Tensor, kernel: Kernel) -> Slots | None:
        """Where weights lie that a function applies; None where they are no whole parameter."""
        weight = self.tensors.weight(name) if name else None
        if weight is None or storage_of(weight) != storage_of(applied):
            return None
        bias = ""
        if kernel.bias is not None:
            bias = self.tensors.name(kernel.bias)
            if not bias or self.tensors.weight(bias) is None:
                return None
        outputs, inputs = (_place(weight, applied, d) for d in (kernel.outputs, kernel.inputs))
        if outputs is None or inputs is None:
            return None
        return Slots(outputs, inputs, kernel.groups, kernel.transposed, bias)

    def _read_by(self, operand: Operand) -> View | None:
        """The results that a product reads, where these can be folded into its weights."""
        record = self.tensors.find(operand.tensor)
        view = record.view if record else None
        if view is None or operand.channel != view.dim or view.biases:
            return None
        if any(result.of_other for result in view.results):
            before = self._unnormalised.get(operand.tensor)
            if before is None or before.is_stale:
                return None
        return view

    def _normalised(self, cost: Normalisation, call: Call) -> _Made | None:
        """What a BatchNorm gives that is a scale and a shift for each channel."""
        path, module = self._where[-1]
        learned = (tensor for tensor in call.tensors if tensor is not cost.input)
        if not (
            cost.affine
            and applies_its_weights(module)
            and all(call.signal(tensor) is LEARNED for tensor in learned)
        ):
            return None
        x, (out, *_) = cost.input, tensors_in((call.out,))
        record = self.tensors.find(x)
        view = record.view if record else None
        fits = view is not None and (view.dim, view.inner, view.channels) == (1, 1, x.shape[1])
        parts = frozenset[str]().union(
            *(self.tensors.parts(tensor) for tensor in call.tensors if tensor is not x)
        )
        layer = Layer(self._paths.first(module), is_norm=True)
        result = Result(layer, path, parts, reads=view if fits else None, dims=x.dim())
        before = self._unnormalised.get(x)
        if before is None and result.reads is None:
            before = Unnormalised(layer, x)
        if before is not None:
            result.of_other = True
            self._unnormalised[out] = before
        return _Made(self.provenance.add(result), x, View((result,), 1, x.shape[1]))

    def _move_unnormalised(self, call: Call, outputs: Sequence[Tensor]) -> None:
        """What a norm read is moved as its result is: a layer after both may get it instead."""
        before = [self._unnormalised.get(tensor) for tensor in call.tensors]
        if any(each is None or each.is_stale or each.norm != before[0].norm for each in before):
            return
        inputs = {id(t): each.tensor for t, each in zip(call.tensors, before, strict=True)}
        args = tree_map(lambda leaf: inputs.get(id(leaf), leaf), call.args)
        with self:
            if canonical(call.func) in VIEWS:  # it need not lie in memory as the result does
                moved = args[0].reshape(call.out.shape)
            else:
                moved = call.func(*args, **call.kwargs)
        for out, tensor in zip(outputs, tensors_in((moved,)), strict=True):
            # Inside the dispatcher a view gets no part in the version counter of its base.
            self.tensors.latest(tensor).version = tensor._version
            read = tuple(source for each in before for source in each.read)
            self._unnormalised[out] = Unnormalised(before[0].norm, tensor, read)

    def _arriving(self, cost: Product, before: Unnormalised | None) -> tuple[Arrival, ...]:
        """How what arrives at a product was made."""
        if self._history is None:
            return ()
        steps = (self._step(operand.tensor) for operand in cost.operands)
        folded = self._step(before.tensor) if before is not None else None
        return tuple(Arrival(step, folded or step) for step in steps)

    def _bias_added(self, name: str, call: Call, before: _Before) -> View | None:
        """A learned value per channel, added to a synaptic result: free, and no use of it."""
        if name != "add" or len(before.records) != 2 or call.kwargs:
            return None
        (result, record), (bias, _) = before.records
        view = record.view if record else None
        if view is None or view.inner > 1 or call.signal(bias) is not LEARNED:
            return None
        shape = (1,) * (result.dim() - bias.dim()) + tuple(bias.shape)
        per_channel = len(shape) == result.dim() and all(
            size == (result.shape[dim] if dim == view.dim else 1) for dim, size in enumerate(shape)
        )
        if not per_channel:
            return None
        _, module = self._where[-1]
        own = Layer(self._paths.first(module))
        if isinstance(module, nn.Linear) and all(each.layer == own for each in view.results):
            return view
        self._read_weights([bias])
        return replace(view, biases=(*view.biases, self.tensors.name(bias)))

    def _take(self, tensor: Tensor, what: str) -> None:
        """Something that is no layer takes a tensor."""
        _use(self.tensors.find(tensor), what)
        self._read_weights([tensor])

    def _read_weights(self, tensors: Iterable[Tensor]) -> None:
        """Something else than the layer that they belong to reads weights among these tensors."""
        for tensor in tensors:
            if self.tensors.signal(tensor) is LEARNED:
                self.provenance.read |= self.tensors.parts(tensor)

    def _not_seen(self, tensor: Tensor, traits: Traits) -> None:
        """What was made where nobody could see it may share memory with results."""
        if not traits.is_literal or (self._has_read and tensor.numel() > 1):
            if not self._unseen:  # its states, most of which it will have replaced in the end
                self._held = tuple(tensors_of(self._model))
            self._unseen.setdefault(tensor._cdata, self._where[-1][0])
        for _, alias in self.tensors.aliases(tensor):
            for view in alias.holds:
                view.use(traits.name)

    # Where no fused kernel takes its operands, an attention is done by its parts: q and k are
    # scaled, perhaps, and multiplied, a softmax is taken and multiplied with v. The two products
    # are the rows that they are in a fused kernel.

    def _in_attention(self, product: Product) -> Product:
        """A product as it is in a fused attention, if it is done by one; else as it is."""
        factors = [operand.tensor for operand in product.operands]
        if product.pairs is None and product.applied is not None:
            factors.append(product.applied)
        records = [self.tensors.find(tensor) for tensor in factors]
        softened = [record.softened if record is not None else "" for record in records]
        scales = {record.scaled[0] if record and record.scaled else None for record in records}
        if any(softened) and not all(softened):
            # A layer may be applied to attention weights; torch's own softmax meets only values.
            if product.pairs is not None or _SAFE in softened:
                values = zip(product.operands, softened, strict=False)
                return _attending("attn @ v", product, tuple(v for v, soft in values if not soft))
        elif product.pairs is not None and scales != {None}:
            left, right = map(self._unscaled, product.operands)
            return replace(product, operands=(left, right), pairs=(left.tensor, right.tensor))
        elif len(scales) == 1 and None not in scales:
            return _attending("q @ k", product, tuple(map(self._unscaled, product.operands)))
        return product

    def _unscaled(self, operand: Operand) -> Operand:
        """What an attention had before it scaled it: a factor folds into what is scaled after."""
        tensor = operand.tensor
        record = self.tensors.find(tensor)
        factor, source = record.scaled if record is not None and record.scaled else (1.0, None)
        if source is None or kind_of(source.signal) is ANALOG:
            return operand
        plain = tensor / factor
        near = plain.round()
        exact = (plain - near).abs() <= 4 * torch.finfo(plain.dtype).eps * near.abs()
        plain = torch.where(exact, near, plain)
        signal = source.signal
        if isinstance(signal, Table):  # its positions may have been moved since
            signal = self.tensors.atoms.joined((signal,))
        self.tensors.put(plain, signal).step = source.step
        return replace(operand, tensor=plain)

    def _attend(
        self, softmax: str, outputs: Sequence[Tensor], read: Sequence[Record], own: Result | None
    ) -> None:
        """Note where in an attention results stand.

        Args:
            softmax: the operator, if they are a softmax of what was read; else "".
            outputs: the results.
            read: the operands that stand in one.
            own: the results are the product of two activations.
        """
        scores = [record.scores for record in read if record.scores is not None]
        if softmax:
            for product in scores:
                product.operator = "q @ k"
        for out in outputs:
            whole = [record for record in read if record.shape.numel() <= out.numel()]
            record = self.tensors.latest(out)
            record.softened = next((r.softened for r in whole if r.softened), "")
            record.scores = own or next((r.scores for r in whole if r.scores is not None), None)
            if softmax:
                record.softened, record.scores = softmax if record.scores else "", None

    def _params(self, own: Iterable[Tensor | None]) -> int:
        """Number of parameters of the innermost module, told by its first row."""
        _, module = self._where[-1]
        if id(module) in self._told:
            return 0
        self._told.add(id(module))
        return sum(parameter.numel() for parameter in own if parameter is not None)


@dataclass(slots=True)
class _Before:
    """What was known of an operator's tensors before it ran."""

    records: list[tuple[Tensor, Record | None]]
    writes: list[tuple[Tensor, list[tuple[int, Record]]]]
    fixed: bool
    """Whether no data and no chance has a part in what it makes."""


@dataclass(frozen=True, slots=True)
class _Made:
    """What a cost gave: its result, what that read, and what the operator's result hands on.

    A product of two activations reads nothing that could be folded into it.
    """

    result: Result
    read: Tensor | None = None
    view: View | None = None


def _attending(name: str, product: Product, operands: tuple[Operand, ...]) -> Product:
    """A product of an attention. What is learned in it is no layer's weights."""
    return replace(
        product,
        kind="matmul",
        operator=name,
        operands=operands,
        pairs=None,
        channel=None,
        weight="",
        kernel=None,
    )


@cache
def _is_wrapper(kind: type) -> bool:
    """Whether a class of tensors does its work with tensors inside of it: jagged ones, say."""
    return hasattr(kind, "__tensor_flatten__")


def _inside(tensor: Tensor) -> list[Tensor]:
    """The tensors that hold the values of a wrapper; none of any other tensor."""
    if not _is_wrapper(type(tensor)):
        return []
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    inner = tensors_in(getattr(tensor, name) for name in names)
    return [part for part in inner if part.dtype == tensor.dtype]


def _use(record: Record | None, what: str, by: Result | None = None) -> None:
    """The values of a tensor are read by an operator that does not just move them."""
    if record is None:
        return
    for view in record.holds:
        view.use(what, by)
    if record.padding is not None:
        record.padding.uses += 1


def _overwrite(aliases: Iterable[tuple[int, Record]], what: str) -> None:
    """Results are written into."""
    for _, alias in aliases:
        for view in alias.holds:
            view.use(what)


def _fill(
    source: Tensor, record: Record | None, target: Tensor, aliases: Iterable[tuple[int, Record]]
) -> dict[int, tuple[View | None, Filling | None]]:
    """What each tensor on the memory of ``target`` holds once ``source`` is copied there."""
    is_same = source.shape == target.shape and source.dtype == target.dtype and source.numel() > 0
    view = record.view if record is not None and is_same else None
    inner = layout_of(target)
    held: dict[int, tuple[View | None, Filling | None]] = {}
    for key, alias in aliases:
        outer = alias.layout
        if alias.dtype == target.dtype and not outer.meets(inner):
            held[key] = alias.view, alias.filling
            continue
        box = box_in(outer, inner) if alias.dtype == target.dtype else None
        if key == target._cdata or (box is not None and box.is_whole):
            place = -1 if view is None or box is None else box.places[view.dim]
            now = None if view is None or place < 0 else replace(view, dim=place)
            held[key] = now, None
        elif box is None or (alias.view is not None and alias.filling is None):
            _overwrite([(key, alias)], "copy_")
            held[key] = None, None
        else:
            filling = written_into(alias.filling, box, view)
            held[key] = filling.whole(alias.shape) if filling else None, filling
        if view is not None and not any(held[key]):
            view.use("copy_")
    if view is not None:
        held[target._cdata] = view, None
    elif record is not None:
        for each in record.holds:
            each.use("copy_")
    return held


def _taken_out(
    records: Sequence[tuple[Tensor, Record | None]], outputs: Sequence[Tensor], what: str
) -> list[View | None] | None:
    """What parts hold that are taken out of a tensor that results were written into.

    None if it is no such tensor.
    """
    fillings = [(r.filling, r) for _, r in records if r and r.filling and r.view is None]
    if not fillings:
        return None
    if len(records) == 1 and all(storage_of(out) == fillings[0][1].storage for out in outputs):
        ((filling, record),) = fillings
        return [moved_out(filling, record.layout, layout_of(out), what) for out in outputs]
    for _, record in fillings:
        for view in record.holds:
            view.use(what)
    return None


def _adds_bias_apart(module: nn.Module, kernel: Kernel) -> bool:
    """Whether a linear layer applies its weights first: to what does not lie as it is read."""
    return isinstance(module, nn.Linear) and kernel.bias is None


def _place(weight: Tensor, applied: Tensor, dim: int) -> int | None:
    """The dimension of a parameter that is a dimension of a view of it."""
    if (weight.shape, weight.stride()) == (applied.shape, applied.stride()):
        return dim
    shape = applied.shape[dim], applied.stride(dim)
    places = zip(weight.shape, weight.stride(), strict=True)
    return next((place for place, known in enumerate(places) if known == shape), None)


def _depending(rule: Rule, call: Call, before: _Before, outputs: Sequence[Tensor]) -> list[Signal]:
    """The signals of the results. Weights are what depends on weights and constants alone.

    An index, a mask, a condition or a draw makes a selection of weights data.
    """
    known = rule.signal(call)
    signals = list(known) if isinstance(known, Sequence) else [known] * len(outputs)
    if not before.fixed:
        return [ANALOG if signal is LEARNED else signal for signal in signals]
    if rule.counted or not _reads_learned(call):
        return signals
    return [LEARNED if _is_real(signal) else signal for signal in signals]


def _is_real(signal: Signal) -> bool:
    """Whether it may hold real numbers; a state of zeros under a learned factor holds none."""
    if isinstance(signal, Table):
        return bool(signal.scale) and signal.support != {0}
    return kind_of(signal) is ANALOG


def _reads_learned(call: Call) -> bool:
    return any(signal is LEARNED for signal in call.signals.values())
