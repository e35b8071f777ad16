"""Count each operator of a forward pass where it is executed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from syops._torch import identity, weights_in
from syops.errors import SyopsValueError
from syops.ledger.steps import Arrival, History
from syops.ops.quantised import makes_few_values
from syops.ops.recipes import recipe_of
from syops.ops.rule import Call, Cost, Normalisation, Product, Rule, Tally, tensors_in
from syops.ops.traits import Traits, traits_of
from syops.ops.values import ANALOG, EMPTY, LEARNED, UNKNOWN, Signal, constant
from syops.trace.aliasing import overlap
from syops.trace.attention import attend, in_attention, scale
from syops.trace.earlier import Earlier
from syops.trace.filling import Filling
from syops.trace.folds import Folds, Made
from syops.trace.gauge import Gauge
from syops.trace.history import arriving, remember, step_of
from syops.trace.learned import DataReads, reads_learned, signals_of
from syops.trace.lineage import LayerResult, Padding, ResultView, views_after
from syops.trace.live import Tensors
from syops.trace.measure import Measurements
from syops.trace.neurons import is_one_neuron
from syops.trace.outside import Outside
from syops.trace.paths import Paths
from syops.trace.places import follow
from syops.trace.plan.recorder import Recorder
from syops.trace.record import Before
from syops.trace.repeats import Repeats
from syops.trace.rows import CallSites, row_of
from syops.trace.settings import Settings
from syops.trace.shapes import executed_on_meta
from syops.trace.watch import Watch, inside
from syops.trace.weights import RECURRENT
from syops.trace.writes import fill, overwrite, taken_out

_ALIAS = torch.ops.aten.alias.default


def _learned(call: Call) -> list[Tensor]:
    """Return the operands that were weights."""
    return [tensor for tensor in call.tensors if call.signals[id(tensor)] is LEARNED]


def _weights_are_learned(call: Call, before: Before) -> None:
    """Note that operands made of parameters alone are weights, also where few values are known."""
    for tensor, record in before.records:
        if record is not None and record.fixed and record.parts:
            call.signals[id(tensor)] = LEARNED


def _applies_weights(cost: Cost, call: Call) -> bool:
    """Return whether a cost is that of a product with weights."""
    return isinstance(cost, Product) and bool(_learned(call))


class Dispatch:
    """Count the operators of one forward pass.

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
        outside: the tensors that nobody saw being made.
        execute: executes an operator.
        call_site: says where in the code the operator is called.
        checks: says whether torch reads values to check them, and lets none out.
        repeats: which of them hold the same values.
        measurements: what was counted.
        folds: the results of layers, and what reads them.
        unaccounted: the operators without a rule, in order.
        earlier: what the model has read that an earlier pass computed.
    """

    def __init__(
        self,
        model: nn.Module,
        where: Sequence[tuple[str, nn.Module]],
        paths: Paths,
        settings: Settings,
        watch: Watch,
        tensors: Tensors,
        gauge: Gauge,
        history: History | None,
        recorder: Recorder | None,
    ) -> None:
        self.tensors = tensors
        self.repeats = Repeats(tensors, has_values=settings.values)
        self.measurements = Measurements(
            tensors, self.repeats, gauge, values=settings.values, by_values=settings.by_values
        )
        self.outside = Outside(model)
        self.call_site = CallSites().now
        self._recorder = recorder
        self.folds = Folds(self.tensors, where, paths)
        self._data = DataReads(self.tensors)
        self._watch = watch
        self.checks = lambda: watch.checks
        self.unaccounted: list[str] = []
        self._where = where
        self._caller = where[0]
        self._strict = settings.strict
        self._follows_calls = settings.by_caller
        self.earlier = Earlier(tensors)
        self.execute = executed if settings.values else executed_on_meta
        self._history = history
        self._with_params: set[int] = set()
        self._are_neurons: dict[nn.Module, bool] = {}
        self._axes = ("time", "samples") if settings.by_sample else ("time",)
        self._costs: Sequence[Cost] = ()
        """Of the operator that is being counted."""

    def read_out(self, tensor: Tensor) -> None:
        """Note that values of a tensor are about to become Python numbers."""
        if not self._is_in_caller:
            self._data.read_out(tensor)

    def params(self, own: Iterable[Tensor]) -> int:
        """Return the number of parameters of the innermost module, told by its first row."""
        _, module = self._where[-1]
        if id(module) in self._with_params:
            return 0
        self._with_params.add(id(module))
        return sum(parameter.numel() for parameter in own)

    def _is_neuron(self, module: nn.Module) -> bool:
        known = self._are_neurons.get(module)
        if known is None:
            known = self._are_neurons[module] = is_one_neuron(module)
        return known

    @property
    def _is_in_caller(self) -> bool:
        """Whether code runs that calls the model, and is not part of it.

        Of what that does only products with weights of the model are counted.
        """
        return self._where[-1] is self._caller

    def operator(
        self, rule: Rule | None, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Execute an operator, and count what it does."""
        traits, is_literal = traits_of(func), rule is not None and rule.lifts
        read = {name: value for name, value in kwargs.items() if name not in traits.outs}
        operands = tensors_in((*args, *read.values()) if read else args)
        records, signals, known, unseen = [], {}, [], []
        for tensor in operands:
            record, signal = self.tensors.known(tensor)
            known.append((record, signal))
            records.append((tensor, record))
            signals[id(tensor)] = signal
            if record is None:
                if signal is LEARNED:
                    self.tensors.read.add(identity(tensor))
                else:
                    if self._data.may_be_in(tensor, is_literal):
                        unseen.append(tensor)
                        if not self._is_in_caller:
                            self.outside.note(tensor, self._where[-1][0])
                    # It may share memory with results.
                    overwrite(self.tensors.aliases(tensor), traits.name)
        deciding = known[:1] if rule is not None and rule.observes else known
        before = Before(
            records,
            [(target, self.tensors.aliases(target)) for target in traits.written(args, kwargs)],
            self._data.is_fixed(traits, is_literal, args, read, deciding),
        )
        numbered = self.repeats.before(traits, operands, known)
        seen = args
        if traits.targets and rule is not None and rule.geometry:
            if self._recorder is not None:
                self._recorder.give_up()
            # Rules ask for the shape that the tensor had.
            before_it, operands[0] = operands[0], _ALIAS(operands[0])
            signals[id(operands[0])] = signals[id(before_it)]
            seen = (operands[0], *args[1:])
        out = self.execute(func, args, kwargs)
        if self._recorder is not None and rule is not None and rule.own:
            self._recorder.give_up()
        elif self._recorder is not None:
            where, checks = self._where[-1], self.checks()
            self._recorder.executed(func, (args, kwargs), out, where, checks, unseen, is_literal)
        call = Call(
            func,
            seen,
            read,
            out,
            operands,
            signals,
            self.tensors.atoms,
            self.tensors.name,
            self._data.has_numbers,
            self.tensors.recipe,
        )
        if rule is None:
            self._unknown(call, before)
        elif rule.moves:
            self._moved(rule, traits, call, before)
        else:
            self._computed(rule, traits, call, before)
        if rule is not None and rule.own:
            self._check_own(call)
        if before.fixed:
            self._mark_fixed(traits, call, before)
        elif self._follows_calls:
            self.earlier.mark(rule, call, before, self._is_in_caller)
        costs, self._costs = self._costs, ()  # they would keep tensors alive
        follow(self.tensors, self._axes, rule, call, before, costs)
        if numbered is not None and rule is not None:
            self.repeats.after(rule, traits, call, numbered)
        if self._history is not None:
            remember(self._history, self.tensors, self._where[-1][0], rule, call, before)
        if self._recorder is not None:
            self._recorder.analysed()
        return out

    def _mark_fixed(self, traits: Traits, call: Call, before: Before) -> None:
        """Mark results that are made without data and chance, and note of which parameters."""
        parts = frozenset[str]().union(*map(self.tensors.parts, call.tensors))
        records = [self.tensors.latest(tensor) for tensor in call.outputs]
        rounded = bool(parts) and (
            any(record.rounded for _, record in before.records if record is not None)
            or makes_few_values(traits.name, [record.signal for record in records])
        )
        for record in records:
            record.fixed, record.parts, record.rounded = True, parts, rounded

    def _check_own(self, call: Call) -> None:
        """Have what a rule of the user's says of results, and of what drives them, checked."""
        who = f"{call.func.name()} in {self._where[-1][0] or 'the model'}"
        products = [cost for cost in self._costs if isinstance(cost, Product)]
        driving = [(o.tensor, o.signal) for cost in products for o in cost.operands if o.signal]
        results = [(tensor, self.tensors.signal(tensor)) for tensor in call.outputs]
        for tensor, signal in (*results, *driving):
            sent = inside(tensor) or [tensor]
            self.measurements.declared(who, signal, sent, by_rule=True)

    def _unknown(self, call: Call, before: Before) -> None:
        """Name an operator without a rule, and have its results looked at in the data.

        What it makes of weights alone are weights, prepared once.
        """
        if before.fixed and reads_learned(call):
            for tensor in call.outputs:
                self.tensors.put(tensor, LEARNED)
            return
        place = f"{call.func.name()} in {self._where[-1][0] or 'the model'}"
        if self._strict and not self._is_in_caller:
            raise SyopsValueError(
                f"{place}: no rule says what this operator costs; "
                "with strict=False it is listed in report.unaccounted instead"
            )
        if not self._is_in_caller:
            self.unaccounted.append(place)
        if self._history is not None and any(
            step_of(self.tensors, tensor, record).non_spikes for tensor, record in before.records
        ):
            self._history.unknown[place] = None
        for tensor, _ in before.records:
            self.folds.take(tensor, place)
        for target, aliases in before.writes:
            overwrite(aliases, place)
            self.tensors.written(target, UNKNOWN, aliases)

    def _moved(self, rule: Rule, traits: Traits, call: Call, before: Before) -> None:
        """Follow an operator that moves values without reading them."""
        outputs = call.outputs
        signals = signals_of(rule, call, before.fixed, outputs)
        if not before.fixed:
            self.folds.read_weights(_learned(call))
        if before.writes and not rule.geometry:
            self._copied(traits.name, call, before, signals[0])
            return
        handed = [record.view if record else None for _, record in before.records]
        operands = list(zip(call.tensors, handed, strict=True))
        moved = views_after(rule, traits.name, call.args, operands, outputs)
        held = taken_out(before.records, outputs, traits.name) or moved
        padding = self._padding(rule, call, before, signals[0])
        base, first = before.records[0] if before.records else (None, None)
        for place, (tensor, signal, holds) in enumerate(zip(outputs, signals, held, strict=True)):
            written = bool(before.writes)
            view = holds if isinstance(holds, ResultView) else None
            record = self.tensors.put(tensor, signal, view, padding, base, written)
            record.filling = holds if isinstance(holds, Filling) else None
            if first is not None:
                record.scores, record.softened = first.scores, first.softened
                record.scaled = first.scaled if rule.whole else None
            if signal is LEARNED and not written:
                record.recipe = recipe_of(rule, call, tensor, place)
        if self.folds.unnormalised and not before.writes and any(held):
            self.folds.move_unnormalised(rule, call, outputs, watched=self._watch)

    def _padding(self, rule: Rule, call: Call, before: Before, signal: Signal) -> Padding | None:
        """Return whether the results are a padded tensor, and of what."""
        if not before.records:
            return None
        source, record = before.records[0]
        keeps = rule.casts and record is not None and record.signal == signal
        if rule.in_order or (keeps and call.out.is_floating_point()):
            return record.padding if record else None
        crops = rule.pads and min(call.args[1], default=0) < 0
        grows = rule.pads and all(out.numel() > source.numel() for out in call.outputs)
        padding = self.measurements.padding(source) if grows and not crops else None
        for _, other in before.records:
            if other is not None and other.padding is not None:
                other.padding.uses += 1
        return padding

    def _copied(self, what: str, call: Call, before: Before, signal: Signal) -> None:
        """Follow ``copy_``, by which circular padding and preallocated results are written."""
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
        held = fill(source, record, target, aliases, what)
        if overlap(target, source):  # some of it was written before it was read
            signal = self.tensors.atoms.joined((signal,))
        self.tensors.written(target, signal, aliases, padding, before.fixed)
        for key, (view, filling) in held.items():
            self.tensors.hold(key, view, filling)

    def _computed(self, rule: Rule, traits: Traits, call: Call, before: Before) -> None:
        """Count an operator that reads values and makes new ones."""
        for key, signal in call.signals.items():
            if signal == EMPTY:
                call.signals[key] = UNKNOWN
        view = self.folds.bias_added(call, before.records) if rule.adds else None
        outputs = call.outputs
        signals = signals_of(rule, call, before.fixed, outputs)
        own = None
        if rule.counted:
            _weights_are_learned(call, before)
        if view is None:
            prepared = before.fixed and any(signal is LEARNED for signal in signals)
            view, own = self._charged(rule, traits, call, before, prepared)
        if not before.records and isinstance(self._where[-1][1], RECURRENT):
            signals = [ANALOG] * len(outputs)  # the hidden state, analog from step 0 on
        if rule.tells and not self.checks() and not self._is_in_caller:
            for tensor in call.tensors:
                self._data.read_out(tensor, isinstance(call.out, bool))
        if before.writes:
            results = list(zip(outputs, signals, strict=True))
            self._overwritten(rule, traits.name, call, before, results, view)
        written = {id(target) for target, _ in before.writes}
        for place, (tensor, signal) in enumerate(zip(outputs, signals, strict=True)):
            if id(tensor) not in written or view:
                record = self.tensors.put(
                    tensor, signal, view if place == 0 else None, written=id(tensor) in written
                )
                if signal is LEARNED and id(tensor) not in written:
                    record.recipe = recipe_of(rule, call, tensor, place)
        standing = [r for _, r in before.records if r is not None and (r.scores or r.softened)]
        if own is not None or (standing and not rule.counted):
            attend(self.tensors, rule.softens, outputs, standing, own)
        elif rule.scales and call.args[1] and call.out.is_floating_point():
            scale(self.tensors, call, before.records[0][1])

    def _overwritten(
        self,
        rule: Rule,
        what: str,
        call: Call,
        before: Before,
        results: Sequence[tuple[Tensor, Signal]],
        view: ResultView | None,
    ) -> None:
        """Note results that were written into given tensors; ``view``: what the first holds."""
        for target, aliases in before.writes:
            overwrite((a for a in aliases if not view or a[0] != identity(target)), what)
            known = next((signal for tensor, signal in results if tensor is target), ANALOG)
            if not rule.places and any(overlap(target, t) for t in call.tensors):
                known = UNKNOWN  # what was computed may have been computed with
            self.tensors.written(target, known, aliases, fixed=before.fixed)

    def _charged(
        self, rule: Rule, traits: Traits, call: Call, before: Before, prepared: bool
    ) -> tuple[ResultView | None, LayerResult | None]:
        """Put the costs of an operator into their rows, and note what it reads.

        Args:
            rule, traits, call, before: the operator.
            prepared: its result is a weight, made once for all samples.

        Returns:
            the result of a layer that it gave, and the product of two activations that it is.
        """
        self._costs = costs = rule.cost(call)
        if self._is_in_caller:
            costs = [cost for cost in costs if not before.fixed and _applies_weights(cost, call)]
        charged = [self._charge(cost, call, prepared) for cost in costs]
        made = [each for each in charged if each is not None]
        readers = {id(each.read): each.result for each in made}
        for tensor, record in before.records:
            if record is not None:
                by = readers.get(id(tensor))
                record.use(traits.name, by if by and by.reads else None)
        if not before.fixed and not any(each.result.layer for each in made):
            self.folds.read_weights(_learned(call))
        view = next((each.view for each in made if each.view), None)
        return view, next((each.result for each in made if each.read is None), None)

    def _charge(self, cost: Cost, call: Call, prepared: bool) -> Made | None:
        """Put a cost into its row; ``prepared``: the result is a weight, made once for all samples.

        Returns what it gave, if its weights may be changed.
        """
        path, module = self._where[-1]
        site = self.call_site()
        if self._recorder is not None:
            self._recorder.called_at(site)
        if isinstance(cost, Tally):
            if cost.kind != "pool" and self._is_neuron(module):  # its work is told as updates
                return None
            row = row_of(cost, path, 0, call.out)
            self.measurements.tally(row, site, prepared or cost.prepared)
            return None
        params = self.params(weights_in(module))
        of_two = False
        if isinstance(cost, Product) and cost.is_plain:
            cost = in_attention(self.tensors, cost)
            of_two = cost.pairs is not None or cost.operator == "q @ k"
        row = row_of(cost, path, params, call.out, rounded=self._is_rounded(cost))
        match cost:
            case Product():
                for operand in cost.operands:
                    if operand.signal is not None:
                        self.tensors.put(operand.tensor, operand.signal)
                prepared = prepared or cost.prepared
                made = Made(LayerResult(None)) if of_two else self.folds.result_of(cost, call)
                before = self.folds.before(made)
                steps: tuple[Arrival, ...] = ()
                if self._history is not None:
                    steps = arriving(self.tensors, cost, before)
                result = made.result if made else None
                self.measurements.product(row, site, cost, prepared, result, before, steps)
                return made
            case Normalisation() if prepared:
                self.measurements.tally(row, site, prepared)
            case Normalisation():
                made = self.folds.normalised(cost, call)
                if self._recorder is not None and self.folds.unnormalised:
                    self._recorder.give_up()
                self.measurements.normalisation(
                    row, site, cost.input, made.result if made else None
                )
                return made
        return None

    def _is_rounded(self, cost: Cost) -> bool:
        """Return whether the weights that are applied were rounded, or hold two values alone."""
        if not isinstance(cost, Product) or cost.applied is None:
            return False
        record, _ = self.tensors.known(cost.applied)
        if record is None or not record.parts:
            return False
        few = record.recipe.values if record.recipe else ()
        return record.rounded or len(few) > 1


def executed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the result of an operator."""
    return func(*args, **kwargs)
