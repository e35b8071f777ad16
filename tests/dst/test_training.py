"""Dual-stream training: the loss, the loop, checkpoints, what the paper proves."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import TensorDataset

from syops import create_model
from syops.dst import (
    DivergedError,
    Recipe,
    digits,
    dst_loss,
    evaluate,
    fit,
    probe_blocks,
    seed_everything,
)
from syops.errors import (
    SyopsError,
    SyopsFileError,
    SyopsTypeError,
    SyopsValueError,
)
from syops.models import attach_aap, detach_aap, zero_init_residual
from syops.models.parts import Streams, reset_neurons
from tests import ROOT

QUICK = Recipe(epochs=3, lr=0.1, batch_size=16, T=2, clip=5.0)


@pytest.fixture(autouse=True)
def no_traces_of_seeding():
    yield
    torch.use_deterministic_algorithms(False)


def some_digits(n=48):
    (x, y), (x_test, y_test) = digits()
    return TensorDataset(x[:n], y[:n]), TensorDataset(x_test[:20], y_test[:20])


def small(name="dsnn_digits", seed=0, **keywords):
    seed_everything(seed)
    return create_model(name, **{"blocks": 2, "channels": 4, "T": 2, **keywords})


# The loss, Eq. (12)


def test_the_loss_is_the_sum_of_both_streams():
    spike, accumulated, y = torch.randn(5, 10), torch.randn(5, 10), torch.arange(5)
    expected = -(spike.log_softmax(1)[range(5), y].mean())
    assert torch.allclose(dst_loss(spike, y), expected)
    assert torch.equal(dst_loss(Streams(spike, None), y), dst_loss(spike, y))
    expected = expected - accumulated.log_softmax(1)[range(5), y].mean()
    assert torch.allclose(dst_loss(Streams(spike, accumulated), y), expected)
    squares = dst_loss(Streams(spike, accumulated), torch.zeros(5, 10), F.mse_loss)
    assert torch.allclose(squares, spike.square().mean() + accumulated.square().mean())


@pytest.mark.parametrize("outputs", [(), (None, None), "logits", (torch.zeros(3, 10),) * 3])
def test_outputs_that_are_no_streams_are_refused(outputs):
    with pytest.raises(SyopsTypeError, match="outputs: expected logits or two streams"):
        dst_loss(outputs, torch.zeros(3).long())


@pytest.mark.parametrize("label", [-1, 10])
def test_labels_out_of_range_are_refused(label):
    with pytest.raises(SyopsValueError, match=f"{label}.*classes 0 to 9"):
        dst_loss(torch.randn(3, 10), torch.tensor([1, 2, label]))


# The loop


def test_fit_reduces_the_loss():
    train, test = some_digits(400)
    model = small("sew_digits", blocks=1, channels=8)
    quick = dataclasses.replace(QUICK, epochs=6, lr=0.3)
    epochs = fit(model, train, test, quick, name="sew_digits")
    assert epochs[-1].loss < 0.5 * epochs[0].loss
    assert [e.epoch for e in epochs] == list(range(6))
    assert epochs[-1].accuracy == evaluate(model, test)
    right = 0
    model.eval()
    for x, y in zip(*test.tensors, strict=True):
        right += int(model(x[None]).argmax() == y)
    assert epochs[-1].accuracy == {"spike": right / 20}


def test_resumed_training_has_identical_losses(tmp_path):
    train, test = some_digits()
    whole = fit(small(), train, test, QUICK, name="x", folder=tmp_path / "whole")

    class Killed(BaseException):
        pass

    class Deadly(TensorDataset):
        """Ends the process's training in the middle of its second epoch."""

        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            if self.reads == 70:
                raise Killed
            return super().__getitem__(index)

    with pytest.raises(Killed):
        fit(small(), Deadly(*train.tensors), test, QUICK, name="x", folder=tmp_path / "cut")
    told = json.loads((tmp_path / "cut" / "history.json").read_text())
    assert len(told["epochs"]) == 1
    resumed = small(seed=77)  # other weights: all of them come from the checkpoint
    rest = fit(resumed, train, test, QUICK, name="x", folder=tmp_path / "cut", resume=True)
    assert [e.losses for e in rest] == [e.losses for e in whole]
    assert [e.accuracy for e in rest] == [e.accuracy for e in whole]
    assert [e.lr for e in rest] == [e.lr for e in whole]
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == ["checkpoint.pt", "history.json"]


def test_checkpoints_of_other_trainings_are_refused(tmp_path):
    train, test = some_digits()
    one = dataclasses.replace(QUICK, epochs=1)
    fit(small(), train, test, one, name="dsnn_digits", folder=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def again(recipe=one, name="dsnn_digits", **keywords):
        fit(small(), train, test, recipe, name=name, folder=tmp_path, **keywords)

    with pytest.raises(SyopsFileError, match="holds a checkpoint already"):
        again()
    with pytest.raises(SyopsValueError, match="its name is 'dsnn_digits', not 'sew_digits'"):
        again(name="sew_digits", resume=True)
    with pytest.raises(SyopsValueError, match="its seed is 0, not 1"):
        again(seed=1, resume=True)
    with pytest.raises(SyopsValueError, match="its recipe is"):
        again(recipe=dataclasses.replace(one, lr=0.2), resume=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    (tmp_path / "checkpoint.pt").write_bytes(before[:100])
    with pytest.raises(SyopsFileError, match="damaged"):
        again(resume=True)
    with pytest.raises(SyopsFileError, match="nothing to resume"):
        fit(small(), train, test, one, name="x", folder=tmp_path / "other", resume=True)


def test_nan_loss_stops_training(tmp_path):
    train, test = some_digits()
    broken = TensorDataset(train.tensors[0].clone(), train.tensors[1])
    fit(small(), train, test, dataclasses.replace(QUICK, epochs=1), name="x", folder=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    model = small()
    torch.nn.init.constant_(model.fc.weight, float("nan"))
    with pytest.raises(DivergedError, match=r"epoch 0, step 0.*learning rate"):
        fit(model, broken, test, QUICK, name="x", folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert issubclass(DivergedError, SyopsError)


def test_a_last_step_that_breaks_the_weights_leaves_no_checkpoint(tmp_path):
    train, test = some_digits()
    one_step = Recipe(epochs=1, lr=1e30, batch_size=48, T=2, weight_decay=1e30)
    with pytest.raises(DivergedError, match=r"epoch 0: .* is not finite after the last step"):
        fit(small(), train, test, one_step, name="x", folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_bad_data_is_refused():
    train, test = some_digits()
    with pytest.raises(SyopsValueError, match="training set is empty"):
        fit(small(), TensorDataset(torch.zeros(0, 1, 8, 8)), test, QUICK, name="x")
    with pytest.raises(SyopsValueError, match="T_train=1.*these are images"):
        fit(small(), train, test, dataclasses.replace(QUICK, T_train=1), name="x")
    wrong = TensorDataset(train.tensors[0], train.tensors[1] + 5)
    with pytest.raises(SyopsValueError, match="classes 0 to 9"):
        fit(small(), wrong, test, QUICK, name="x")
    with pytest.raises(SyopsValueError, match="classes 0 to 9"):
        evaluate(small(), wrong)


def test_events_are_thinned_in_training_only():
    frames = torch.rand(6, 5, 2, 8, 8).round()  # [N, T, ...]
    data = TensorDataset(frames, torch.arange(6))
    seen = []
    model = small(in_channels=2)
    model.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape)))
    recipe = Recipe(epochs=1, lr=0.1, batch_size=6, T=5, T_train=3)
    fit(model, data, data, recipe, name="x", events=True)
    assert seen == [(3, 6, 2, 8, 8), (5, 6, 2, 8, 8)]


def test_mixed_precision_runs():
    train, test = some_digits()
    one = dataclasses.replace(QUICK, epochs=1)
    plain = fit(small(), train, test, one, name="x")
    mixed = fit(small(), train, test, one, name="x", amp=True)
    assert plain[0].losses != mixed[0].losses
    assert plain[0].losses[0] == pytest.approx(mixed[0].losses[0], rel=0.2)


# What the paper proves, on real digits


@pytest.mark.parametrize("g", ["IAND", "OR", "XOR"])
def test_with_identity_mapping_the_gradient_of_the_aap_is_one(g):
    """§4.3: the derivative of a_{l+k} by a_l is 1, and Eq. (14): that of o_{l+k} by o_l, too."""
    model = create_model("dsnn_digits", blocks=12, channels=4, g=g)
    zero_init_residual(model)
    x = digits()[1][0][:8]
    kept = []
    model.layer1[0].register_forward_hook(lambda m, args, out: kept.append(out))
    model.layer1[5].register_forward_hook(lambda m, args, out: kept.append(out))
    model(x)
    first, last = kept
    for stream in ("spike", "accumulated"):
        start, end = getattr(first, stream), getattr(last, stream)
        assert torch.equal(start, end)
        (gradient,) = torch.autograd.grad(end.sum(), start, retain_graph=True)
        assert torch.equal(gradient, torch.ones_like(start))


def test_the_gradient_of_the_aap_is_one_whatever_the_spikes_do():
    """With AND, whose blocks are silent then: the AAP does not go through g."""
    model = create_model("dsnn_digits", blocks=12, channels=4, g="AND")
    kept = []
    for block in (model.layer1[0], model.layer1[5]):
        block.register_forward_hook(lambda m, args, out: kept.append(out))
    model(digits()[1][0][:8])
    assert kept[0].spike.any()
    assert not torch.equal(kept[0].accumulated, kept[1].accumulated)  # no identity mapping
    zero_init_residual(model)
    kept.clear()
    model(digits()[1][0][:8])
    start, end = (out.accumulated for out in kept)
    assert not kept[1].spike.any()
    (gradient,) = torch.autograd.grad(end.sum(), start)
    assert torch.equal(gradient, torch.ones_like(start))


def test_the_gradient_of_spiking_neurons_is_a_product_of_surrogates():
    """Eq. (13) on real spikes: IF neurons after the sums, identity mapping, alpha = 2.

    At rest in front of each step, 1 gives sigma'(0) = 1 and 0 gives sigma'(-1) = 0.092.
    """
    model = create_model("dsnn_digits", blocks=8, channels=4, T=1, residual="spiking")
    zero_init_residual(model)
    kept = []
    model.layer1[0].register_forward_hook(lambda m, args, out: kept.append(out))
    model.layer1[3].register_forward_hook(lambda m, args, out: kept.append(out))
    model(digits()[1][0][:8])
    first, last = kept
    (gradient,) = torch.autograd.grad(last.spike.sum(), first.spike, retain_graph=True)
    slope = 2 / (2 * (1 + (torch.pi / 2 * 2 * (first.spike.detach() - 1)) ** 2))
    assert torch.allclose(gradient, slope**3)
    assert {0.0, 1.0} == set(first.spike.unique().tolist())
    (gradient,) = torch.autograd.grad(last.accumulated.sum(), first.accumulated)
    assert torch.equal(gradient, torch.ones_like(gradient))


def test_a_trained_network_without_its_aap_sends_the_same_spikes():
    train, test = some_digits(200)
    model = small(blocks=4, channels=8)
    fit(model, train, test, QUICK, name="x")
    x = test.tensors[0]
    with torch.no_grad():
        both = model.eval()(x)
        alone = detach_aap(model).eval()(x)
        again = attach_aap(detach_aap(model)).eval()(x)
    assert torch.equal(both.spike, alone)
    assert torch.equal(both.spike, again.spike)
    assert evaluate(model, test)["spike"] == evaluate(detach_aap(model), test)["spike"]


# Block by block (Figures 5 to 8)


@pytest.mark.parametrize("residual", ["sew", "spiking"])
def test_probes_are_the_rates_and_gradients_of_the_blocks(residual):
    """Against a pass written out by hand, block by block."""
    model = create_model("dsnn_digits", blocks=4, channels=4, T=2, residual=residual)
    (x, y), _ = digits()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.eval()
    found = probe_blocks(model, x[:16], y[:16])
    assert not any(part.training for part in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(part._forward_hooks for part in model.modules())
    model.train()
    reset_neurons(model)
    current = model.bn1(model.conv1(x[None, :16])).expand(2, -1, -1, -1, -1)
    streams = Streams(*[model.sn1(current)] * 2)
    expected, sums = [], []
    for block in (*model.layer1, *model.layer2):
        shortcut = block.downsample(streams.spike)
        s = block.f(streams.spike) if residual == "spiking" else block.sn(block.f(streams.spike))
        o = block.sn(s + shortcut) if residual == "spiking" else block.g(s, shortcut)
        streams = Streams(o, s + block.aap(streams.accumulated))
        sums.append(s)
        expected.append((o, s))
    loss = dst_loss(Streams(*(model.fc(model.features(maps)) for maps in streams)), y[:16])
    gradients = torch.autograd.grad(loss, sums)
    assert [probe.path for probe in found] == ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]
    for probe, (o, s), gradient in zip(found, expected, gradients, strict=True):
        assert probe.rate_o == pytest.approx(float((o != 0).double().mean()))
        assert probe.gradient == pytest.approx(float(gradient.norm()), rel=1e-5)
        if residual == "spiking":
            assert probe.rate_s is None
        else:
            assert probe.rate_s == pytest.approx(float((s != 0).double().mean()))


def test_probes_in_a_test_normalise_as_in_a_test():
    (x, y), _ = digits()
    model = small("fsnn_digits")
    model.train()
    for _ in range(3):
        model(x[:64])  # running statistics of its own
    rates = []
    hook = model.layer2[0].register_forward_hook(lambda m, args, out: rates.append(out.spike))
    with torch.no_grad():
        model.eval()(x[:16])
    hook.remove()
    model.train()
    found = {training: probe_blocks(model, x[:16], y[:16], training=training)[-1].rate_o
             for training in (True, False)}  # fmt: skip
    assert model.training
    assert found[False] == float(rates[0].double().mean()) != found[True]


def test_only_residual_networks_have_blocks():
    with pytest.raises(SyopsTypeError, match="no residual blocks"):
        probe_blocks(torch.nn.Linear(3, 3), torch.zeros(1, 3), torch.zeros(1).long())


# The command


SCRIPT = ROOT / "examples" / "train_dst.py"
SMALL = ("--device", "cpu", "--set", "blocks=1", "--set", "channels=2", "--recipe", "T=1")


@pytest.fixture
def command(monkeypatch, capfd):
    """Run the example in this process; gives exit status, standard output, lines of errors."""

    def run(folder, *args):
        given = (SCRIPT, "--folder", folder, *SMALL, *args)
        monkeypatch.setattr(sys, "argv", [str(arg) for arg in given])
        status = 0
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as ended:
            status = ended.code
        out, err = capfd.readouterr()
        return status, out, [line for line in err.splitlines() if "triton" not in line.lower()]

    return run


def test_the_command_trains_resumes_and_writes_weights(command, tmp_path):
    digits_of = ("--dataset", "digits", "--model", "fsnn_digits")
    status, out, errors = command(tmp_path / "a", *digits_of, "--recipe", "epochs=1")
    assert status == 0, errors
    assert "epoch 0: loss" in out
    weights = tmp_path / "a" / "weights.safetensors"
    model = create_model("fsnn_digits", blocks=1, channels=2, T=1, weights=weights)
    share = evaluate(model, TensorDataset(*digits()[1]))["spike"]
    assert f"weights.safetensors: spike {share:.2%}" in out
    before = weights.read_bytes()
    status, out, errors = command(tmp_path / "a", *digits_of, "--recipe", "epochs=1")
    assert (status, out, len(errors)) == (2, "", 1)
    assert "resume it" in errors[0]
    status, out, _ = command(tmp_path / "a", *digits_of, "--recipe", "epochs=1", "--resume")
    assert (status, weights.read_bytes()) == (0, before)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--dataset", "imagenet", "--model", "fsnn_digits"), "--data FOLDER"),
        (
            ("--dataset", "dvsgesture", "--model", "fsnn_digits", "--recipe", "T_train=20"),
            "T_train",
        ),
        (("--dataset", "digits", "--model", "fsn_digits"), "did you mean"),
        (("--dataset", "digits", "--model", "fsnn_digits", "--recipe", "speed=2"), "'speed'"),
        (("--dataset", "digits", "--model", "fsnn_digits", "--recipe", "epochs=x"), "epochs='x'"),
        (
            ("--dataset", "digits", "--model", "fsnn_digits", "--device", "abacus"),
            "--device abacus",
        ),
    ],
)
def test_the_command_refuses_in_one_line(command, tmp_path, args, message):
    status, out, errors = command(tmp_path / "new", *args)
    assert (status, out, len(errors)) == (2, "", 1), errors
    assert message in errors[0]
    assert not (tmp_path / "new").exists()


def test_results_need_a_folder_before_anything_is_trained(command, tmp_path):
    (tmp_path / "file").write_text("mine")
    status, out, errors = command(
        tmp_path / "file", "--dataset", "digits", "--model", "fsnn_digits"
    )
    assert (status, out, len(errors)) == (2, "", 1)
    assert "is a file" in errors[0]
    assert (tmp_path / "file").read_text() == "mine"


OF_TWO = """
import torch
from torch.distributed import broadcast, get_rank, init_process_group
from torch.utils.data import TensorDataset
from syops import create_model
from syops.dst import digits, evaluate, seed_everything

init_process_group("gloo")
seed_everything(0)
model = create_model("fsnn_digits", blocks=1, channels=4, T=2)
x, y = digits()[0]
with torch.no_grad():
    for _ in range(20):
        model.train()(x[:64])
    model.bn1.running_mean += 1000 * get_rank()  # the second one falls silent,
    model.fc.bias.copy_(torch.eye(10)[9] / 1e6)  # and answers 9
answers = model.eval()(x[:100]).argmax(1)
broadcast(answers, 0)
print(evaluate(model, TensorDataset(x[:100], answers))["spike"])
"""


@pytest.mark.slow
@pytest.mark.once
def test_processes_test_one_network(tmp_path):
    """Running means and variances of batch normalisation are those of the first process."""
    script = tmp_path / "of_two.py"
    script.write_text(OF_TWO)
    options = ("--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Two processes may write into one line.
    assert re.findall(r"\d\.\d", done.stdout) == ["1.0", "1.0"], done.stderr


@pytest.mark.slow
@pytest.mark.once
def test_two_processes_train_one_network(tmp_path):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *(SCRIPT, "--dataset", "digits", "--model", "fsnn_digits", "--folder", tmp_path / "two"),
        *(*SMALL, "--recipe", "epochs=1"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = json.loads((tmp_path / "two" / "history.json").read_text())["epochs"][0]["losses"]
    assert len(steps) == -(-1347 // 2 // 16)  # each has half of the data, 16 of 32 at a time
    weights = tmp_path / "two" / "weights.safetensors"
    model = create_model("fsnn_digits", blocks=1, channels=2, T=1, weights=weights)
    share = evaluate(model, TensorDataset(*digits()[1]))["spike"]
    assert done.stdout.count(f"weights.safetensors: spike {share:.2%}") == 1
