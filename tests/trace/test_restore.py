"""Whatever happens and whenever: the model and torch are left as they were found.

The environment variable SYOPS_EXAMPLES says how many signals are sent at random instants.
"""

import os
import pickle
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn
from torch.nn.modules import module as modules
from torch.utils._python_dispatch import TorchDispatchMode

import syops
from syops import (
    SyopsError,
    check_full_spike,
    count_syops,
    fold_bn,
    get_model_bounds,
    get_model_syops,
)
from tests.support.examples import random_examples, times

SIGNALS = times(120)
HOME = str(Path(syops.__file__).parent)


class Stopped(BaseException):
    """What an interrupt raises; no handler of errors catches it."""


class Merging(nn.Linear):
    """A layer that does more in train() than to set a flag, as adapters that merge weights do."""

    merged = False

    def train(self, mode=True):
        self.merged = not mode
        return super().train(mode)


def network():
    torch.manual_seed(0)
    model = nn.Sequential(
        layer.Conv2d(2, 3, 3, padding=1),
        layer.BatchNorm2d(3),
        neuron.LIFNode(),
        nn.Flatten(),
        nn.Dropout(),
        Merging(48, 4),
        neuron.IFNode(),
    )
    model[4].eval()  # one that was left in eval mode
    model[5].register_forward_hook(lambda *_: None)
    model(torch.rand(2, 2, 4, 4))  # leaves states behind
    return model


def watched(model):
    """Call layers that keep nothing in a loop that is watched."""
    with count_syops(model, samples=2, time_steps=2):
        for _ in range(3):
            model[5](model[3](model[0](X)))


X = (torch.rand(2, 2, 4, 4) < 0.4).float()
RUNS = {
    "count": lambda model: get_model_syops(model, X, time_steps=1),
    "batches": lambda model: get_model_syops(model, [X, X]),
    "bounds": lambda model: get_model_bounds(model, X),
    "audit": lambda model: check_full_spike(model, X),
    "caller": lambda model: watched(model),
}


def picture(model):
    """All that a run could leave changed, of the model and of torch."""
    modules = [
        (
            {name: id(value) for name, value in vars(module).items()},
            module.training,
            *(
                list(value.items())
                for name, value in vars(module).items()
                if isinstance(value, dict) and name != "_modules"
            ),
        )
        for module in model.modules()
    ]
    tensors = [*model.state_dict().values(), *(m.v for m in model if hasattr(m, "v"))]
    return str(modules), [tensor.tolist() for tensor in tensors], modes()


def modes():
    return (
        torch._C._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.utils._python_dispatch._is_in_torch_dispatch_mode,
        *map(list, (modules._global_forward_hooks, modules._global_forward_hooks_always_called)),
        sys.modules["torch._dynamo.eval_frame"]._stance,
    )


@pytest.fixture(autouse=True)
def compiler():
    """Loaded, so that its stance is changed by a run."""
    import torch._dynamo  # noqa: F401


@pytest.mark.parametrize("name", RUNS)
def test_model_as_found_after_a_run(name):
    model = network()
    before = picture(model)
    RUNS[name](model)
    assert picture(model) == before


@random_examples
@pytest.mark.parametrize("name", RUNS)
def test_model_as_found_after_a_signal_at_a_random_instant(name):
    model = network()
    RUNS[name](model)
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        RUNS[name](model)
        durations.append(time.perf_counter() - start)
    duration = min(durations)
    before, draw, stopped = picture(model), random.Random(0), 0

    def stop(*_):
        raise Stopped

    found = signal.signal(signal.SIGALRM, stop)
    try:
        for _ in range(SIGNALS // len(RUNS)):
            try:
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, 1.1 * duration))
                RUNS[name](model)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Stopped:
                stopped += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert picture(model) == before
    finally:
        signal.signal(signal.SIGALRM, found)
    assert stopped


def lines_of(run, files):
    """How often a line of the given files is executed in a run."""
    return stopped_at(run, files, None)


def stopped_at(run, files, number):
    """Run, and raise before the ``number``-th line of the given files; returns the lines seen."""
    seen = 0

    def trace(frame, event, arg):
        nonlocal seen
        if not frame.f_code.co_filename.endswith(files):
            return None
        if event in ("line", "return"):
            seen += 1
            if seen == number:
                sys.settrace(None)
                raise Stopped
        return trace

    sys.settrace(trace)
    try:
        run()
    except Stopped:
        pass
    finally:
        sys.settrace(None)
    return seen


INSTALLS = tuple(
    f"{os.sep}{name}"
    for name in (
        *(
            "syops/trace/restore.py",
            "syops/trace/observer.py",
            "syops/trace/hooks.py",
            "syops/trace/calls.py",
            "syops/trace/states.py",
            "syops/trace/neurons/own.py",
            "syops/_torch.py",
        ),
        *("torch/utils/_python_dispatch.py", "torch/utils/hooks.py", "torch/overrides.py"),
        *("torch/autograd/grad_mode.py", "torch/_dynamo/decorators.py"),
    )
)
"""Where hooks, modes and flags are put on and taken off."""


@random_examples
@pytest.mark.parametrize("name", RUNS)
def test_model_as_found_wherever_an_interrupt_comes_between_two_lines(name):
    model = network()
    RUNS[name](model)
    before = picture(model)
    total = lines_of(lambda: RUNS[name](model), INSTALLS)
    assert total > 300
    step = max(1, total * len(RUNS) // (5 * SIGNALS))
    for number in range(1, total + 1, step):
        stopped_at(lambda: RUNS[name](model), INSTALLS, number)
        assert picture(model) == before, number


def test_model_with_hooks_half_installed_can_be_pickled():
    class Late(nn.Linear):
        def register_forward_pre_hook(self, *args, **kwargs):
            raise Stopped

    model = nn.Sequential(nn.Linear(8, 8), Late(8, 3))
    with pytest.raises(Stopped):
        get_model_syops(model, torch.ones(2, 8))
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 0, 0]
    assert model.training
    pickle.dumps(model[0])


class Exported(nn.Linear):
    """Refuse to change the mode, as what `torch.export` makes does.

    It is not made by `torch.export`, which goes wrong once a signal of the tests above has come
    while torch's compiler forgot a tensor.
    """

    def train(self, mode=True):
        raise NotImplementedError("Calling train() is not supported yet.")


def test_module_that_refuses_eval_is_named_and_the_others_stay_in_training():
    exported = Exported(8, 8)
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout()).train()
    model.add_module("exported", exported)
    with pytest.raises(SyopsError, match=r"exported: eval\(\) failed.*NotImplementedError"):
        get_model_syops(model, torch.ones(2, 8))
    assert [model[i].training for i in range(2)] == [True, True]


def test_custom_train_is_called_back():
    model = network().train()
    get_model_syops(model, X)
    assert model[5].merged is False
    model.eval()
    get_model_syops(model, X)
    assert model[5].merged is True


class LowRank(nn.Linear):
    """A layer with an update of low rank, which is part of its weights in eval mode."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.down = nn.Parameter(torch.ones(1, self.in_features))
        self.up = nn.Parameter(torch.ones(self.out_features, 1))
        self.is_merged = False

    def train(self, mode=True):
        if self.is_merged is mode:
            update = self.up.data @ self.down.data
            self.weight.data += -update if mode else update
            self.is_merged = not mode
        return super().train(mode)

    def forward(self, x):
        y = super().forward(x)
        return y if self.is_merged else y + (x @ self.down.T) @ self.up.T


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batches", [1, 3])
def test_weights_that_eval_merges_are_counted_merged_and_come_apart_again(training, batches):
    model = nn.Sequential(LowRank(4, 3), nn.ReLU(), LowRank(3, 2))
    with torch.no_grad():
        for parameter in model.parameters():  # whole numbers: merging rounds nothing
            parameter.fill_(2)
    model.train(training)
    before = [parameter.tolist() for parameter in model.parameters()]
    report = get_model_syops(model, [torch.rand(5, 4)] * batches, input_signal="analog")
    assert report.totals.mac == batches * 5 * (4 * 3 + 3 * 2)
    assert [parameter.tolist() for parameter in model.parameters()] == before
    assert [model[i].is_merged for i in (0, 2)] == [not training] * 2
    assert model.training is training
    fold_bn(model, torch.rand(5, 4))
    assert [parameter.tolist() for parameter in model.parameters()] == before


def test_mode_of_the_user_stays():
    class Passing(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    with Passing():
        before = modes()
        get_model_syops(nn.Linear(8, 3), torch.ones(2, 8))
        with pytest.raises(SyopsError):
            get_model_syops(nn.Linear(7, 3), torch.ones(2, 8))
        assert modes() == before


# --- at once ------------------------------------------------------------------------------------


class Branches(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.a, self.b, self.pool = nn.Linear(8, 5), nn.Linear(8, 5), pool

    def forward(self, x):
        return sum(self.pool.map(lambda branch: branch(x), (self.a, self.b)))


def test_layers_in_another_thread_are_an_error():
    with ThreadPoolExecutor(2) as pool:
        model = Branches(pool)
        with pytest.raises(SyopsError, match="^a, b ran in another thread"):
            get_model_syops(model, torch.ones(4, 8))
        # Without values: the pool of a copy is the same one.
        model.pool = type("Pool", (), {"map": staticmethod(map)})
        assert get_model_syops(model, torch.ones(4, 8)).dense_ac == 2 * 8 * 5


def test_one_model_counted_twice_at_once_is_right_or_an_error():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 3)).train()
    right = get_model_syops(model, X).totals
    seen, errors = [], []

    def count():
        for _ in range(20):
            try:
                seen.append(get_model_syops(model, X).totals == right)
            except SyopsError as error:
                errors.append("is being counted by another call" in str(error))

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) + len(errors) == 60
    assert seen
    assert all(seen)
    assert all(errors)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_shared_part_of_two_models_counted_at_once_is_named():
    shared = nn.Linear(8, 8)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = shared

        def forward(self, x):
            get_model_syops(nn.Sequential(shared), x)
            return self.part(x)

    with pytest.raises(SyopsError, match="0 is being counted by another call"):
        get_model_syops(Outer(), torch.ones(2, 8))
    assert not shared._forward_hooks


def test_two_models_can_be_counted_at_once():
    def count(seed):
        x = (torch.rand(4, 8, generator=torch.Generator().manual_seed(seed)) < 0.5).float()
        model = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
        return get_model_syops(model, x).totals.ac_events == int(x.sum()) * 5

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(count, range(30)))


def test_tensors_from_outside_of_the_run_are_noted():
    class Outside(nn.Module):
        def __init__(self, make):
            super().__init__()
            self.a, self.constant, self.make = nn.Linear(8, 8), torch.rand(8), make

        def forward(self, x):
            return self.a(self.make(self, x))

    def notes(make):
        report = get_model_syops(nn.Sequential(Outside(make)), torch.ones(4, 8))
        return [note for note in report.notes if "comes from outside of the run" in note]

    def in_a_thread(net, x):
        return pool.submit(nn.functional.linear, x, net.a.weight).result() + x

    with ThreadPoolExecutor(1) as pool:
        assert [note.split(":")[0] for note in notes(in_a_thread)] == ["0"]
    by_numpy = notes(lambda net, x: torch.from_numpy(abs(x.numpy())) + x)
    assert [note.split(":")[0] for note in by_numpy] == ["0"]
    assert not notes(lambda net, x: x * net.constant)
    assert not notes(lambda net, x: x * torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8]))
    assert not notes(lambda net, x: torch.stack([x, x]).sum(0))
