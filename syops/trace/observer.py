"""Watch forward passes: module hooks tell where they are, a dispatch mode what they do."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from syops._torch import HOOKS, PRE_HOOKS, has_other_hooks, tree_leaves, tree_map
from syops.errors import (
    ForwardError,
    SyopsError,
    SyopsRuntimeError,
    SyopsTypeError,
    first_line,
)
from syops.ledger.calls import ModuleCalls, merge_calls
from syops.ledger.ledger import Ledger
from syops.ledger.steps import History
from syops.ops.rule import input_tensors, tensors_in
from syops.ops.values import Shown
from syops.trace.axes import NOWHERE, Axes
from syops.trace.forward import ForwardPass
from syops.trace.gauge import Gauge
from syops.trace.hooks import Hooks, ModuleHooks
from syops.trace.lineage import LayerTrail
from syops.trace.live import Tensors
from syops.trace.meta import SilentNeuron
from syops.trace.modules import module_call, squeezed_sizes
from syops.trace.neurons import (
    NeuronSignal,
    kept,
    neuron_signal,
    state_tensors,
)
from syops.trace.paths import Paths
from syops.trace.plan.recorder import Recorder
from syops.trace.plan.register import Register
from syops.trace.plan.tree import Plans
from syops.trace.repeats import differ
from syops.trace.replay import Replay
from syops.trace.restore import left_as_found
from syops.trace.settings import Settings
from syops.trace.settling import Accounts
from syops.trace.spikes import Spikes
from syops.trace.states import buffers_of_neurons
from syops.trace.unroll import Call, once
from syops.trace.watch import Watch
from syops.trace.weights import RECURRENT

T = TypeVar("T")


class StatesFound(Exception):
    """Report that a pass took states for weights; the pass has to be run again.

    Attributes:
        states: the names of all buffers that are known to be states by now.
    """

    def __init__(self, states: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(states)))
        self.states = states


def until_known(work: Callable[[], T], anew: Callable[[], object]) -> T:
    """Do ``work`` with an observer; do it again, after ``anew``, if it finds more states."""
    while True:
        try:
            return work()
        except StatesFound:
            anew()


class Observer:
    """Count each forward pass of ``model`` that is run through the observer, in one ledger.

    Args:
        model: any module; nothing is written onto it but hooks.
        ledger: where the counts go.
        settings: how passes are counted.
        history: where it goes by which operators each tensor was made; None not to ask.
        plans: what the passes teach for later ones; None where there are none.
        spikes: where those of each neuron are counted, if anybody asks.

    Attributes:
        provenance: of the results of layers in the last pass.
    """

    def __init__(
        self,
        model: nn.Module,
        ledger: Ledger,
        settings: Settings,
        history: History | None = None,
        plans: Plans | None = None,
        spikes: Spikes | None = None,
    ) -> None:
        self._model = model
        self._spikes = spikes
        self._plans = plans
        self._ledger = ledger
        self._accounts = Accounts(ledger, history)
        self._looked: list[ModuleCalls] = []
        self._squeezed = squeezed_sizes(model) if settings.by_values else None
        known = settings.states | buffers_of_neurons(model)
        self._settings = replace(settings, states=known)
        self._history = history
        self._hooks = Hooks(model, self, self._neuron_signal)
        self._paths = Paths(model)
        self._where: list[tuple[str, nn.Module]] = []
        self._pass: ForwardPass | Replay | None = None
        self._watch: Watch | None = None
        self._inside_neurons = 0
        self._unwatched: Tensor | None = None
        self._failed_in = ""
        self.provenance = LayerTrail()
        self._thread = 0
        self._elsewhere: dict[str, None] = {}

    @property
    def states(self) -> frozenset[str]:
        """The names of buffers that are known to be states, or have turned out to be."""
        return self._settings.states

    def watching(self, work: Callable[[], T]) -> T:
        """Run ``work`` with hooks on the model, which are gone afterwards.

        Raises:
            SyopsRuntimeError: the model, or a part of it, is being counted by another call.
        """

        def installed() -> T:
            self.install()
            return work()

        return left_as_found(installed, self)

    def install(self) -> None:
        """Put hooks on the model, which `put_back` removes; see `watching`."""
        self._hooks.install()

    def put_back(self) -> None:
        """Remove all hooks of this observer from the model."""
        self._hooks.remove()

    def run(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: Sequence[NeuronSignal | Shown | None],
        time_axis: int | None = None,
        samples: int = 0,
        call: Call = once,
        axes: Axes = NOWHERE,
    ) -> Any:
        """Make one pass of the model and add what it did to the ledger.

        A pass that did the same as one before it is added with others, at the latest by `settle`.

        Args:
            args, kwargs: what the model is called with.
            inputs: the signals of the tensors among them (their values, or an opaque one);
                None to look one up in the data.
            time_axis: the dimension of the first tensor that counts time-steps, if one does.
            samples: in the batch.
            call: calls the model, once or several times in a pass.
            axes: where the time-steps and samples of the first tensor are.

        Returns:
            what ``call`` returns: the model's output.

        Raises:
            StatesFound: operators took buffers for weights that are known to be states now.
                Nothing was added.
            ForwardError: the model failed; names the layer.
            SyopsRuntimeError: a layer ran in another thread, where nothing can be seen.
            SyopsValueError: a tensor that was looked at holds NaN or infinite values.
        """
        watch = self._begin()
        self._pass = watch.listener = self._new_pass(watch)
        given = input_tensors(args, kwargs)
        first = given[0] if given else None
        differs = None if first is None else differ(first, time_axis)
        self._pass.begin(given, inputs, time_axis, differs, axes)
        try:
            watch.start()
            output = call(self._model, args, kwargs)
            if lazy := lazy_part(output):
                raise SyopsTypeError(
                    f"the model returned a {lazy}, and what that computes when it is read cannot "
                    "be counted; have its forward return a list"
                )
        except SyopsError:
            raise
        except Exception as error:
            if "NestedTensorImpl" in str(error):
                raise SyopsRuntimeError(
                    f"{self._failed_in or 'the model'} makes a nested tensor with "
                    "layout=torch.strided, as attention over jagged ones does, which cannot be "
                    "watched; pad its inputs to one size"
                ) from error
            raise ForwardError(
                f"the model failed in {self._failed_in or 'its forward'}: "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
        finally:
            finished, self._pass, self._watch = self._pass, None, None
            watch.stop()
            watch.listener = None  # the two hold each other, and the pass the inputs
        self._refuse_threads()
        found = finished.finish(output, self._accounts, samples)
        if found:
            self.know(found)
            raise StatesFound(self.states)
        if isinstance(finished, ForwardPass):
            self.provenance = finished.provenance
        self._keep_looks()
        self._keep_spikes(samples)
        return output

    def _keep_spikes(self, samples: int) -> None:
        """Add the spikes of a pass to those before, once the pass itself is in the ledger."""
        if self._spikes is not None:
            self.settle()
            self._spikes.complete(samples)

    def _keep_looks(self) -> None:
        """Add what calls of modules looked like to the ledger."""
        if self._looked:
            self._ledger.modules = merge_calls((*self._ledger.modules, *self._looked))
            self._looked = []

    def _begin(self) -> Watch:
        """Begin at the code that calls the model, in this thread."""
        self._where[:] = [("", self._model)]
        self._paths.begin()
        self._thread = threading.get_ident()
        self._elsewhere.clear()
        self._failed_in = ""
        self._inside_neurons = 0
        self._unwatched = None
        self._looked = []
        if self._spikes is not None:
            self._spikes.begin()
        self._watch = Watch(self._where, self._settings.find, reads=self._settings.values)
        return self._watch

    def _refuse_threads(self) -> None:
        if self._elsewhere:
            raise SyopsRuntimeError(
                f"{', '.join(self._elsewhere)} ran in another thread, where operators cannot be "
                "watched; run the branches of the model one after another to count it"
            )

    def know(self, states: frozenset[str]) -> None:
        """Note buffers that are states, for the passes that follow."""
        if not states <= self.states:
            self._settings = replace(self._settings, states=self.states | states)

    def settle(self) -> None:
        """Add to the ledger what is not there yet.

        Raises:
            SyopsValueError: see `run`; the passes before that one are in the ledger.
        """
        self._accounts.settle()

    def _new_pass(self, watch: Watch) -> ForwardPass | Replay:
        """Return what is told of the next forward pass."""
        tensors = Tensors(self._model, self.states)
        plans = self._plans
        if plans is None or not plans.is_worth_it:
            return self._analysis(watch, tensors, Gauge(tensors.factor))
        if not plans.root.next:
            recorder = Recorder(plans.root, Register(tensors))
            return self._analysis(watch, tensors, Gauge(tensors.factor, recorder.read), recorder)
        begin = partial(self._analysis, watch, tensors)
        find = self._settings.find
        return Replay(plans, begin, tensors, self._where, self._model, find, watch)

    def _analysis(
        self, watch: Watch, tensors: Tensors, gauge: Gauge, recorder: Recorder | None = None
    ) -> ForwardPass:
        settings = self._settings
        return ForwardPass(
            *(self._model, self._where, self._paths, settings, watch, tensors, gauge),
            self._history,
            recorder,
        )

    def run_twice(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: Sequence[NeuronSignal | None],
    ) -> tuple[LayerTrail, ...]:
        """Call the model twice in a row, on copies of its inputs; see `run`.

        A model that keeps something may do other things in its second call. One that fails there
        takes a single call.
        """
        passes: list[LayerTrail] = []
        for _ in range(2):
            own = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, (args, kwargs))
            try:
                self.run(own[0], own[1], inputs)
            except ForwardError:
                if not passes:
                    raise
                break
            passes.append(self.provenance)
        return tuple(passes)

    def _neuron_signal(self, module: nn.Module) -> NeuronSignal | None:
        if isinstance(module, SilentNeuron):
            return module.silent_signal
        return neuron_signal(module, self._settings.neurons)

    def on_enter(
        self, hooks: ModuleHooks, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if self._pass is None or self._watch is None:
            return
        if threading.get_ident() != self._thread:
            self._elsewhere[hooks.path or type(module).__name__] = None
            return
        inputs = (*args, *kwargs.values())
        self._where.append((self._paths.of(module, *self._where[-1]), module))
        if (hooks.path, PRE_HOOKS) in self._settings.hooked:
            self._pass.hooked(tensors_in(inputs))
        if hooks.is_layer:
            self._enter_layer(module, inputs)
            return
        is_neuron, is_recurrent = hooks.neuron is not None, isinstance(module, RECURRENT)
        if not (is_neuron or is_recurrent or hooks.library is not None):
            return
        watch = self._watch
        if is_neuron and watch.is_on and watch.is_innermost:
            watch.stop()  # it is not looked into
        listener, watch.listener = watch.listener, None  # nor is what is asked of it here
        try:
            tensors = input_tensors(args, kwargs)
            if hooks.library is not None and tensors and not tensors[0].is_nested:
                steps, samples = hooks.library.layout(module, tensors[0])
                states = tensors[1:] or tensors_in(hooks.library.states(module).values())
                lies = hooks.library.time_in(module)
                self._pass.update(tensors[0], lies, steps, samples, states)
            if is_neuron:
                self._pass.enter_neuron(tensors)
                self._inside_neurons += 1
            elif is_recurrent:
                self._pass.enter_recurrent(tensors[1:])
        finally:
            watch.listener = listener

    def _enter_layer(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Watch no longer, if a later pass is about to run a layer as the plan has it."""
        replay, watch = self._pass, self._watch
        if not isinstance(replay, Replay) or watch is None:
            return
        is_plain = len(inputs) == 1 and isinstance(inputs[0], Tensor)
        is_watched = watch.is_on and watch.is_innermost and not has_other_hooks(module)
        if is_plain and is_watched:
            watch.stop()  # what is asked of tensors here would be watched too
            if replay.enter_layer(module, inputs[0]):
                self._unwatched = inputs[0]
            else:
                watch.start()

    def _leave_layer(self, module: nn.Module, output: Any) -> Any:
        """Watch again after a layer, and return its result."""
        replay, watch = self._pass, self._watch
        if not isinstance(replay, Replay) or watch is None:
            return output
        x, self._unwatched = self._unwatched, None
        if x is None:
            replay.leave_layer(output)
            return output
        is_planned = replay.leave_unwatched(x, output)
        watch.start()
        # A layer changes nothing: if it did something else, it does so again and is watched.
        return output if is_planned or output is None else module(x)

    def on_return(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Record what a layer or neuron gives, before any other hook of its module runs.

        Returns:
            what is taken for its result; None leaves that as it is.
        """
        hooks = self._hooks.of(module)
        if hooks is None or not self._is_inside(module):
            return None
        given = self._leave_layer(module, output) if hooks.is_layer else None
        self._sent(hooks, module, output if given is None else given)
        return None if given is output else given

    def _sent(self, hooks: ModuleHooks, module: nn.Module, output: Any) -> None:
        """Record what a neuron sends."""
        if self._spikes is not None:
            self._spikes.sent(module, hooks.neuron, output)
        assert self._pass is not None
        assert self._watch is not None
        if hooks.is_watched_neuron and self._watch.is_on:
            listener, self._watch.listener = self._watch.listener, None
            self._pass.sent(input_tensors((output,), {}), kept(hooks.keeper, module))
            self._watch.listener = listener
        if hooks.neuron is None:
            return
        self._inside_neurons -= 1
        self._pass.leave_neuron(
            hooks.neuron,
            input_tensors((output,), {}),
            state_tensors(hooks.keeper, module),
            kept(hooks.keeper, module),
            type(module) in self._settings.neurons,
        )
        if not self._inside_neurons and not self._watch.is_on:
            self._watch.start()

    def _look_at(
        self, hooks: ModuleHooks, module: nn.Module, args: tuple[Any, ...], output: Any
    ) -> None:
        """Note what a call of a module looks like, if that is asked for."""
        watch = self._watch
        if not self._settings.by_values or watch is None or self._pass is None:
            return
        if threading.get_ident() != self._thread:
            return
        listener, watch.listener = watch.listener, None
        try:
            with torch.no_grad():
                found = module_call(hooks.path, module, args, output, self._squeezed)
        finally:
            watch.listener = listener
        if found is not None:
            self._looked.append(found)

    def on_leave(
        self, hooks: ModuleHooks, module: nn.Module, args: tuple[Any, ...], output: Any
    ) -> None:
        """Note that a module has returned, or failed."""
        self._look_at(hooks, module, args, output)
        self._left(hooks, module, output)

    def _left(self, hooks: ModuleHooks, module: nn.Module, output: Any) -> None:
        if self._pass is None or threading.get_ident() != self._thread:
            return
        if output is None and sys.exc_info()[1] is not None:
            self._fail()
        if not self._is_inside(module):  # a hook before one's own failed
            return
        if (hooks.path, HOOKS) in self._settings.hooked:
            self._pass.hooked(tensors_in((output,)))
        if isinstance(module, RECURRENT) and hooks.neuron is None:
            self._pass.leave_recurrent()
        self._where.pop()

    def _fail(self) -> None:
        """Remember the innermost module that raised."""
        if not self._failed_in and self._where:
            path, module = self._where[-1]
            self._failed_in = f"{path} ({type(module).__name__})" if path else type(module).__name__

    def _is_inside(self, module: nn.Module) -> bool:
        """Return whether the module is the innermost one that is being run."""
        inside = self._pass is not None and threading.get_ident() == self._thread
        return inside and len(self._where) > 1 and self._where[-1][1] is module


def lazy_part(output: Any) -> str:
    """Return the class of a part of an output that computes when it is read; "" without any."""
    parts = (leaf for leaf in tree_leaves(output) if isinstance(leaf, Iterator))
    return next((type(part).__name__ for part in parts), "")
