"""One forward pass: every operator is seen where it is executed, and counted."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator
from torch.overrides import _get_current_function_mode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode
from torch.utils._pytree import tree_leaves

from syops._torch import parts_of
from syops.charging import call_site, neuron_row, row_of
from syops.errors import SyopsRuntimeError, SyopsValueError
from syops.history import INPUT, OVERWRITES, PARAMETER, WRITE, History, Step, made
from syops.ledger import Ledger, Updates, merge_updates
from syops.measuring import Measurements
from syops.neurons import Library, NeuronSignal, kept, state_tensors
from syops.neurons.spikingjelly import decomposed
from syops.provenance import Padding, View, views_after
from syops.reads import Reads
from syops.rules import Call, Cost, Normalisation, Product, Rule, Tally
from syops.rules.base import canonical, tensors_in
from syops.rules.elementwise import has_threshold
from syops.rules.recipes import recipe_of
from syops.rules.registry import PARTS, Find
from syops.rules.shape import KEEP, LIFTS, OVERWRITE, PADS
from syops.signals import (
    ANALOG,
    EMPTY,
    LEARNED,
    UNKNOWN,
    Opaque,
    Signal,
    Table,
    constant,
    kind_of,
)
from syops.states import tensors_of
from syops.tensors import Record, Tensors, overlap
from syops.traits import Traits, traits_of

INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_ALIAS = torch.ops.aten.alias.default
_SCALED = torch.ops.aten.mul.Scalar
_SOFTENED = torch.ops.aten._safe_softmax.default


class ForwardPass(TorchDispatchMode):
    """One forward pass."""

    def __init__(
        self,
        model: nn.Module,
        where: list[tuple[str, nn.Module]],
        measurements: Callable[[Tensors], Measurements],
        execute: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any],
        strict: bool,
        find: Find,
        history: History | None,
        given: Sequence[Tensor],
        reads: bool = True,
        states: Set[str] = frozenset(),
    ) -> None:
        super().__init__()
        self.tensors = Tensors(model, states)
        self.measurements = measurements(self.tensors)
        self.failed_in = ""
        self._model = model
        self._given = given
        self._where = where
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
        self._scaled_at: Hashable = None
        self._softened_at: Hashable = None
        self._hidden: list[list[tuple[Tensor, Record | None]]] = []
        self._watching = False

    def give(self, tensor: Tensor, signal: NeuronSignal) -> Record:
        """Say which values a tensor carries that the model did not make."""
        for inner in _inside(tensor):
            self.give(inner, signal)
        known = signal if isinstance(signal, Opaque) else self.tensors.atoms.fresh(signal)
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
            self.__exit__(None, None, None)
            if self._reads is not None:
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
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                _use(self.tensors.find(leaf))
        self.measurements.settle(ledger, has_changed)
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
            _use(self.tensors.find(tensor))
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
        if not traits.is_literal or (self._has_read and args[0].numel() > 1):
            for tensor, (record, signal) in zip(operands, known, strict=True):
                if record is None:
                    if signal is LEARNED:
                        self.tensors.read.add(tensor._cdata)
                    else:
                        self._see(tensor)
        before = _Before(
            [(tensor, record) for tensor, (record, _) in zip(operands, known, strict=True)],
            [(target, self.tensors.aliases(target)) for target in traits.written(args, kwargs)],
            self._is_fixed(traits, args, read, known),
        )
        seen = args
        if traits.reshapes:  # rules ask for the shape that the tensor had
            operands[0] = _ALIAS(operands[0])
            seen = (operands[0], *args[1:])
        signals = {id(tensor): signal for tensor, (_, signal) in zip(operands, known, strict=True)}
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
            for tensor in tensors_in((out,)):
                self.tensors.latest(tensor).fixed = True
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

    def _see(self, tensor: Tensor) -> None:
        """Note who reads a tensor that no operator has made, and what the model holds by then.

        Its states are what it holds; sooner or later most of them are replaced.
        """
        if not self._unseen:
            self._held = tuple(tensors_of(self._model))
        self._unseen.setdefault(tensor._cdata, self._where[-1][0])

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
        for _, record in before.records:
            _use(record)
        for target, aliases in before.writes:
            self.tensors.written(target, UNKNOWN, aliases)

    def _moved(self, rule: Rule, traits: Traits, call: Call, before: _Before) -> None:
        """The operator hands values on without reading them."""
        outputs = tensors_in((call.out,))
        signals = _depending(rule, call, before, outputs)
        if before.writes and not traits.only_geometry:
            self._copied(call, before, signals[0])
            return
        handed = [record.view if record else None for _, record in before.records]
        operands = list(zip(call.tensors, handed, strict=True))
        views = views_after(traits.name, call.args, operands, outputs)
        padding = self._padding(traits.name, call, before, outputs)
        base, first = before.records[0] if before.records else (None, None)
        times = first.times if first is not None else 1.0
        for place, (tensor, signal, view) in enumerate(zip(outputs, signals, views, strict=True)):
            written = bool(before.writes)
            record = self.tensors.put(tensor, signal, view, padding, base, written)
            record.times = times
            if signal is LEARNED and not written:
                record.recipe = recipe_of(call, tensor, place)

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
        _use(record)
        if overlap(target, source):  # some of it was written before it was read
            signal = self.tensors.atoms.joined((signal,))
        self.tensors.written(target, signal, aliases, padding, before.fixed)

    def _computed(self, rule: Rule, traits: Traits, call: Call, before: _Before) -> None:
        """The operator reads values and makes new ones."""
        for key, signal in call.signals.items():
            if signal == EMPTY:
                call.signals[key] = UNKNOWN
        view = _bias_added(traits.name, call, before)
        costs = () if view else rule.cost(call)
        by_norm = any(isinstance(cost, Normalisation) for cost in costs)
        for cost in costs:
            view = self._charge(cost, call) or view
        if not (view and not costs):
            for place, (_, record) in enumerate(before.records):
                _use(record, by_norm and place == 0)
        outputs = tensors_in((call.out,))
        signals = _depending(rule, call, before, outputs)
        if not before.records and isinstance(self._where[-1][1], RECURRENT):
            signals = [ANALOG] * len(outputs)  # the hidden state, analog from step 0 on
        if traits.name == "_local_scalar_dense":
            self._read_out(call.args[0])
        for target, aliases in before.writes:
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
        self._in_attention(call)

    def _charge(self, cost: Cost, call: Call) -> View | None:
        """Put a cost into its row. Returns what the result hands on, if it is synaptic."""
        path, module = self._where[-1]
        counted = not isinstance(cost, Tally)
        params = self._params(module._parameters.values()) if counted else 0
        site = call_site()
        if isinstance(cost, Product) and cost.pairs is not None:
            cost = self._part_of_attention(cost, site)
        row = row_of(cost, path, params, call.out)
        match cost:
            case Product():
                for operand in cost.operands:
                    if operand.signal is not None:
                        self.tensors.put(operand.tensor, operand.signal)
                prepared = all(call.signal(tensor) is LEARNED for tensor in call.tensors)
                origin = self.measurements.product(row, site, cost, prepared)
                if self._history is not None:
                    steps = tuple(self._step(operand.tensor) for operand in cost.operands)
                    self._history.arrive((*row.family, site), steps)
                return View((origin,), cost.channel) if cost.channel is not None else None
            case Normalisation():
                if isinstance(module, INSTANCE_NORMS):
                    cost = replace(cost, affine=False)  # whatever the batch size
                self.measurements.normalisation(row, site, cost)
            case Tally():
                self.measurements.tally(row, site)
        return None

    # Where no fused kernel takes its operands, torch does attention by its parts: q and k are
    # scaled, multiplied, the softmax is taken and multiplied with v, all at one call site. They
    # are the rows that they are in a fused kernel.

    def _in_attention(self, call: Call) -> None:
        """Note where the steps of an attention were done that tell it from other products."""
        if call.func is _SCALED:
            self._scaled_at = call_site()
            self.tensors.latest(call.out).times = float(call.args[1])
        elif call.func is _SOFTENED:
            self._softened_at = call_site()

    def _part_of_attention(self, product: Product, site: Hashable) -> Product:
        """A product of two activations, named if it is one of the two of an attention."""
        if self._softened_at is not None and self._softened_at == site:
            self._softened_at = None
            return replace(product, operator="attn @ v", operands=product.operands[1:], pairs=None)
        if self._scaled_at is None or self._scaled_at != site or product.pairs is None:
            return product
        self._scaled_at = None
        left, right = (self._unscaled(operand.tensor) for operand in product.operands)
        operands = tuple(
            replace(operand, tensor=tensor)
            for operand, tensor in zip(product.operands, (left, right), strict=True)
        )
        return replace(product, operator="q @ k", operands=operands, pairs=(left, right))

    def _unscaled(self, tensor: Tensor) -> Tensor:
        """What an attention had before it scaled it: a factor folds into what is scaled after."""
        record, signal = self.tensors.known(tensor)
        if record is None or record.times in (0.0, 1.0):
            return tensor
        plain = tensor / record.times
        if isinstance(signal, Table) and not signal.scale:
            rounding = torch.finfo(tensor.dtype).eps
            values = [_nearest(value / record.times, rounding) for value in signal.values]
            signal = Table(signal.atoms, tuple(values))
        self.tensors.put(plain, signal).step = record.step
        return plain

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


def _use(record: Record | None, by_norm: bool = False) -> None:
    """The values of a tensor are read by an operator that does not just move them."""
    if record is None:
        return
    if record.view is not None:
        record.view.use(by_norm)
    if record.padding is not None:
        record.padding.uses += 1


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


def _nearest(value: float, rounding: float) -> float:
    """The whole number that a value is up to rounding, or the value."""
    return round(value) if abs(value - round(value)) <= 4 * rounding * abs(value) else value


def _is_real(signal: Signal) -> bool:
    return kind_of(signal) is ANALOG or (isinstance(signal, Table) and bool(signal.scale))


def _reads_learned(call: Call) -> bool:
    return any(signal is LEARNED for signal in call.signals.values())


def _bias_added(name: str, call: Call, before: _Before) -> View | None:
    """A learned value per channel, added to a synaptic result: free, and no use of it."""
    if name != "add" or len(before.records) != 2 or call.kwargs:
        return None
    (result, record), (bias, _) = before.records
    if record is None or record.view is None or call.signal(bias) is not LEARNED:
        return None
    shape = (1,) * (result.dim() - bias.dim()) + tuple(bias.shape)
    per_channel = len(shape) == result.dim() and all(
        size == (result.shape[dim] if dim == record.view.dim else 1)
        for dim, size in enumerate(shape)
    )
    return record.view if per_channel else None
