"""Folding against the unfolded network, Eq. 16 by hand, and a brute-force search for pairs."""

import copy
import types
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.fusion import fuse_conv_bn_eval

from syops import get_model_bounds, get_model_syops
from syops.errors import ForwardError, SyopsTypeError, SyopsValueError
from syops.fold import fold_bn, plan_folding
from syops.models import create_model
from tests.support.versions import needs_2

pytestmark = pytest.mark.filterwarnings("ignore:.*batch norms were not folded")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def image(*shape):
    return torch.randn(*(shape or (2, 3, 6, 6)), dtype=torch.float64)


def prepare(model):
    """`model` in double precision, its norms with statistics that are far from the identity."""
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            if m.running_mean is not None:
                m.running_mean.normal_()
                m.running_var.uniform_(0.3, 3)
            for parameter in (m.weight, m.bias):
                if parameter is not None:
                    nn.init.normal_(parameter)
    return model.double().eval()


def outputs(model, *args, steps=1):
    """Of `steps` calls from the reset state."""
    functional.reset_net(model)
    with torch.no_grad():
        called = [model(*(copy.deepcopy(a) for a in args)) for _ in range(steps)]
    functional.reset_net(model)
    return [t for t in torch.utils._pytree.tree_leaves(called) if isinstance(t, torch.Tensor)]


def assert_same(model, folded, *args, steps=1):
    before, after = outputs(model, *args, steps=steps), outputs(folded, *args, steps=steps)
    assert len(before) == len(after)
    for a, b in zip(before, after, strict=True):
        assert a.dtype == torch.float64
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-10)


def forms(*args):
    """What `fold_bn` takes: an example, and the shape of a single input."""
    return [args, tuple(args[0].shape)] if len(args) == 1 else [args]


def check(model, *args, pairs, steps=1):
    """The folded model does what `model` does, and just these pairs were folded."""
    model = prepare(model)
    for inputs in forms(*args):
        plan = plan_folding(model, inputs)
        folded = fold_bn(model, inputs)
        assert sorted(plan.folded) == sorted(pairs)
        for synapse, norm in pairs:
            assert isinstance(folded.get_submodule(norm), nn.Identity)
            assert synapse not in dict(model.named_modules()) or (
                folded.get_submodule(synapse).bias is not None
            )
        left = {
            p for p, m in folded.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
        }
        assert left == set(plan.unfolded)
        assert_same(model, folded, *args, steps=steps)


def why_not(model, *args, norm="bn", steps=1, inputs=True):
    """The reason for which `norm` was not folded; the model still works the same.

    ``inputs``: whether to fold on an example, or on its shape.
    """
    model = prepare(model)
    args = args or (image(),)
    example = args if inputs else tuple(args[0].shape)
    plan = plan_folding(model, example)
    assert plan.folded == ()
    assert_same(model, fold_bn(model, example), *args, steps=steps)
    return plan.unfolded[norm]


class Net(nn.Module):
    """Modules and what to do with them."""

    def __init__(self, run, **modules):
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.run(self, x)


def conv(c_in=3, c_out=4, **kwargs):
    return nn.Conv2d(c_in, c_out, 3, padding=1, **kwargs)


def pair(run):
    return Net(run, conv=conv(), bn=nn.BatchNorm2d(4))


PAIR = [("conv", "bn")]


# --- the fusion itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("synapse", "norm", "shape"),
    [
        (lambda b: nn.Conv1d(4, 6, 3, groups=2, bias=b), nn.BatchNorm1d, (2, 4, 7)),
        (lambda b: nn.Conv2d(4, 6, 3, stride=2, dilation=2, bias=b), nn.BatchNorm2d, (2, 4, 7, 8)),
        (
            lambda b: nn.Conv2d(6, 6, 3, padding="same", padding_mode="reflect", groups=6, bias=b),
            nn.BatchNorm2d,
            (2, 6, 5, 5),
        ),
        (lambda b: nn.Conv3d(2, 6, 2, bias=b), nn.BatchNorm3d, (2, 2, 3, 4, 5)),
        (lambda b: nn.ConvTranspose1d(4, 6, 3, groups=2, bias=b), nn.BatchNorm1d, (2, 4, 5)),
        (
            lambda b: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, output_padding=1, bias=b),
            nn.BatchNorm2d,
            (2, 4, 3, 4),
        ),
        (lambda b: nn.ConvTranspose2d(6, 6, 3, groups=6, bias=b), nn.BatchNorm2d, (2, 6, 3, 4)),
        (lambda b: nn.ConvTranspose3d(3, 6, 2, bias=b), nn.BatchNorm3d, (2, 3, 2, 3, 2)),
        (lambda b: nn.Linear(5, 6, bias=b), nn.BatchNorm1d, (4, 5)),
    ],
)
def test_every_kind_of_layer(synapse, norm, shape, affine, bias):
    model = nn.Sequential(synapse(bias), norm(6, eps=0.1, affine=affine))
    check(model, image(*shape), pairs=[("0", "1")])


def test_weights_are_those_of_equation_16():
    model = prepare(nn.Sequential(conv(3, 4), nn.BatchNorm2d(4, eps=0.01)))
    c, n = model
    folded = fold_bn(model, image())[0]
    for i in range(4):
        sigma = (n.running_var[i].item() + 0.01) ** 0.5
        scale = n.weight[i].item() / sigma
        shift = (c.bias[i].item() - n.running_mean[i].item()) * scale + n.bias[i].item()
        torch.testing.assert_close(folded.weight[i], c.weight[i] * scale, rtol=1e-12, atol=0)
        assert folded.bias[i].item() == pytest.approx(shift, rel=1e-12)


@needs_2
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_spikingjelly_layers(step_mode):
    model = nn.Sequential(
        layer.Conv2d(3, 4, 3, bias=False),
        layer.BatchNorm2d(4),
        neuron.IFNode(v_threshold=0.5),
        layer.ConvTranspose2d(4, 6, 2, stride=2, groups=2),
        layer.BatchNorm2d(6),
        neuron.LIFNode(v_threshold=0.2),
        layer.AdaptiveAvgPool2d((1, 1)),
        layer.Flatten(),
        layer.Linear(6, 5),
        layer.BatchNorm1d(5),
    )
    functional.set_step_mode(model, step_mode)
    x = image(4, 2, 3, 6, 6) if step_mode == "m" else image()
    check(model, x, pairs=[("0", "1"), ("3", "4"), ("8", "9")], steps=3)


@needs_2
def test_threshold_dependent_norm():
    norm = layer.ThresholdDependentBatchNorm2d(0.7, 1.3, 4)
    model = nn.Sequential(layer.Conv2d(3, 4, 3, step_mode="m"), norm).double().eval()
    norm.running_mean.normal_()
    assert norm.weight.unique().item() == pytest.approx(0.7 * 1.3)
    x = image(4, 2, 3, 6, 6)
    for inputs in forms(x):
        assert_same(model, fold_bn(model, inputs), x)
        assert plan_folding(model, inputs).folded == (("0", "1"),)


@needs_2
@pytest.mark.parametrize(
    ("container", "prefix"),
    [
        (layer.SeqToANNContainer, ""),
        (layer.MultiStepContainer, ""),
        (lambda *m: layer.StepModeContainer(False, "m", *m), ""),
        (lambda *m: layer.StepModeContainer(True, "m", *m), ""),
        (lambda *m: nn.Sequential(layer.SeqToANNContainer(nn.Sequential(*m))), "0.0."),
        (
            lambda *m: layer.ElementWiseRecurrentContainer(nn.Sequential(*m), torch.add, "m"),
            "sub_module.",
        ),
    ],
)
def test_containers(container, prefix):
    model = container(conv(3, 3), nn.BatchNorm2d(3))
    check(model, image(4, 2, 3, 6, 6), pairs=[(f"{prefix}0", f"{prefix}1")])


@needs_2
def test_container_with_time_last():
    model = layer.TLastMultiStepContainer(conv(), nn.BatchNorm2d(4))
    check(model, image(2, 3, 6, 6, 4), pairs=[("0", "1")])


@needs_2
def test_vmap_takes_a_norm_apart():
    """Its scale and shift are operators of their own, which are counted."""
    model = layer.TLastSeqToANNContainer(conv(), nn.BatchNorm2d(4))
    assert "takes it apart" in why_not(model, image(2, 3, 6, 6, 4), norm="1")
    report = get_model_syops(model, image(2, 3, 6, 6, 4))
    assert [row.folded for row in report.layers if row.kind == "norm"] == [None]


def test_norm_outside_the_container_of_its_layer():
    """Time and batch are split up and joined again between them."""
    model = nn.Sequential(layer.SeqToANNContainer(conv()), layer.BatchNorm2d(4, step_mode="m"))
    check(model, image(4, 2, 3, 6, 6), pairs=[("0.0", "1")])


# --- whole networks -------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        # Not in the order in which they are called.
        self.bn1, self.bn2 = layer.BatchNorm2d(c_out), layer.BatchNorm2d(c_out)
        self.conv2 = layer.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.conv1 = layer.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.sn1, self.sn2 = neuron.IFNode(v_threshold=0.3), neuron.IFNode(v_threshold=0.3)
        self.downsample = nn.Identity()
        if stride > 1:
            self.downsample = nn.Sequential(
                layer.Conv2d(c_in, c_out, 1, stride), layer.BatchNorm2d(c_out), neuron.IFNode()
            )

    def forward(self, x):
        y = self.sn1(self.bn1(self.conv1(x)))
        return self.sn2(self.bn2(self.conv2(y))) + self.downsample(x)


class Residual(nn.Module):
    """Stem before the repeat, blocks after it."""

    def __init__(self, T=3):
        super().__init__()
        self.T = T
        self.conv, self.bn = layer.Conv2d(3, 4, 3, padding=1), layer.BatchNorm2d(4)
        self.blocks = nn.Sequential(Block(4, 4, 1), Block(4, 6, 2))
        self.fc = nn.Linear(6, 5)
        functional.set_step_mode(self.blocks, "m")

    def forward(self, x, scale=None):
        if scale is not None:
            return self.conv(x) * scale
        if x.dim() == 4:
            x = self.bn(self.conv(x)).unsqueeze(0).repeat(self.T, 1, 1, 1, 1)
        else:
            T, N = x.shape[:2]
            x = self.bn(self.conv(x.flatten(0, 1)))
            x = x.view(T, N, *x.shape[1:])
        x = self.blocks(x)
        return self.fc(x.mean((3, 4)).flatten(2).mean(0)), {"features": x}


@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (3, 2, 3, 6, 6)])
def test_residual_network(shape):
    pairs = [
        ("conv", "bn"),
        *((f"blocks.{i}.conv{n}", f"blocks.{i}.bn{n}") for i in (0, 1) for n in (1, 2)),
        ("blocks.1.downsample.0", "blocks.1.downsample.1"),
    ]
    model = Residual()
    check(model, image(*shape), pairs=pairs)
    before = outputs(model, image(*shape))[1]
    assert 0.01 < before.mean() < 1.99, "it says nothing without spikes"


@pytest.mark.parametrize(("name", "count"), [("fsnn18", 20), ("dsnn18", 23), ("sew_resnet50", 53)])
def test_bundled_models_fold(name, count):
    plan = plan_folding(create_model(name), (1, 3, 32, 32))
    assert len(plan.folded) == count
    assert plan.unfolded == {}


def test_bundled_model_agrees():
    model = prepare(create_model("dsnn18", num_classes=10))
    folded = fold_bn(model, (1, 3, 32, 32))
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in folded.modules())
    assert_same(model, folded, image(1, 3, 32, 32))


# --- pairs that are not neighbours, or not at first sight ----------------------------------------


class Listed(nn.Module):
    """The modules are called through a list, which a replaced attribute would not reach."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = conv(), nn.BatchNorm2d(4)
        self.alias = self.bn
        self.steps = [self.conv, self.alias]

    def forward(self, x):
        for step in self.steps:
            x = step(x)
        return x


def spikformer(self, x):
    time, batch, tokens, _ = x.shape
    y = self.bn(self.conv(x.flatten(0, 1)).transpose(-1, -2)).transpose(-1, -2)
    return y.reshape(time, batch, tokens, -1)


def test_linear_and_transposed_norm():
    model = Net(spikformer, conv=nn.Linear(6, 5), bn=nn.BatchNorm1d(5))
    check(model, image(4, 2, 5, 6), pairs=PAIR)


@pytest.mark.parametrize(
    "run",
    [
        lambda s, x: s.bn(s.conv(x)) + s.bn(s.conv(2 * x)),
        lambda s, x: torch.stack([s.bn(s.conv(x)) for _ in range(3)]),
        lambda s, x: torch.stack([s.bn(s.conv(xt.unsqueeze(0))) for xt in x]),
        lambda s, x: torch.stack([s.bn(s.conv(x[t : t + 1])) for t in range(x.shape[0])]),
        lambda s, x: s.bn(s.conv(x).transpose(2, 3).contiguous()),
        lambda s, x: s.bn(s.conv(x.to(s.conv.weight.dtype))) * x.shape[0],
        lambda s, x: s.bn(s.conv(x)) if isinstance(x, torch.Tensor) else s.conv(x),
        lambda s, x: s.bn(s.conv(x if len(x.shape) == 4 else x.flatten(0, 1))),
        lambda s, x: s.bn(s.conv(x).unsqueeze(0).repeat(2, 1, 1, 1, 1).flatten(0, 1)),
        lambda s, x: torch.stack([s.bn(y) for y in (lambda y: (y[:1], y[1:]))(s.conv(x))]),
        lambda s, x: s.bn(s.conv(x).reshape(2, 4, 36, 1)[:, :, ::2]),
        lambda s, x: s.bn(torch.cat([s.conv(x), s.conv(2 * x)], 2)),
        lambda s, x: s.bn(y := s.conv(x)) + s.bn(y.transpose(2, 3)),
    ],
)
def test_more_than_adjacency(run):
    check(pair(run), image(), pairs=PAIR)


def test_identity_between_layer_and_norm():
    model = pair(lambda s, x: s.bn(s.nothing(s.conv(x))))
    model.nothing = nn.Identity()
    check(model, image(), pairs=PAIR)


def test_modules_called_through_a_list():
    check(Listed(), image(), pairs=PAIR)


def test_weights_that_are_tied_to_another_layer():
    model = pair(lambda s, x: s.bn(s.conv(x)) + s.tied(x))
    model.tied = conv()
    model.tied.weight = model.conv.weight
    check(model, image(), pairs=PAIR)


def test_single_steps_in_a_loop_of_the_caller():
    model = nn.Sequential(layer.Conv2d(3, 4, 3), layer.BatchNorm2d(4), neuron.IFNode())
    check(model, image(), pairs=[("0", "1")], steps=4)


# --- pairs that must not be folded ----------------------------------------------------------------


def in_place(s, x):
    y = s.conv(x)
    y.flatten(1).mul_(2)
    return s.bn(y)


def item_assigned(s, x):
    y = s.conv(x)
    y[:, 0] = 0
    return s.bn(y)


def written_through_an_older_view(s, x):
    y = s.conv(x)
    z = y.view(-1)
    y[0] = 1
    return s.bn(y * 1) + z.sum()


def kept(s, x):
    y = s.conv(x)
    s.seen = [y]
    return s.bn(y)


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda s, x: s.bn(s.conv(x).relu()), "not the result"),
        (lambda s, x: s.bn(s.conv(x) + 1), "not the result"),
        (lambda s, x: s.bn(F.avg_pool2d(s.conv(x), 2)), "not the result"),
        (lambda s, x: s.bn(s.conv(x)[:, :, torch.tensor([4, 0, 0])]), "not the result"),
        (lambda s, x: s.bn(F.conv2d(x, s.conv.weight * 2, s.conv.bias)), "not a parameter"),
        (lambda s, x: s.bn(F.conv2d(x, s.conv.weight, s.conv.bias * 2)), "not a parameter"),
        (lambda s, x: s.bn(F.conv2d(x, s.conv.weight) + s.conv.bias.exp()[:, None, None]),
         "not a parameter"),
        (lambda s, x: s.bn(y := s.conv(x)) + y, "also goes to add"),
        (lambda s, x: s.bn(y := s.conv(x)) + s.bn(y + s.conv.bias[:, None, None]), "is added"),
        (lambda s, x: (s.bn(y := s.conv(x)), y), "what the model returns"),
        (lambda s, x: (s.bn(y := s.conv(x)), {"y": [y[0].transpose(1, 2)]}), "the model returns"),
        (kept, "what the model keeps"),
        (lambda s, x: s.bn(s.conv(x)) + s.conv(2 * x), "also goes to"),
        (lambda s, x: s.bn(s.conv(x)) + s.conv.forward(2 * x), "parameters of conv"),
        (lambda s, x: s.bn(s.conv(x)) + F.conv2d(x, s.conv.weight, padding=1),
         "parameters of conv"),
        (lambda s, x: s.bn(s.conv(x)) + s.conv.weight.sum(), "parameters of conv"),
        (lambda s, x: s.bn(s.conv(x)) + s.conv.bias.sum(), "parameters of conv"),
        (lambda s, x: (s.bn(s.conv(x)), s.conv.weight), "parameters of conv"),
        (lambda s, x: s.bn(s.conv(x)) + s.bn.running_mean.sum(), "parameters of bn"),
        (in_place, "not the result"),
        (item_assigned, "not the result"),
        (lambda s, x: s.conv(x), "does not call it"),
        (lambda s, x: s.bn(s.conv(x)[:, [0, 2, 1, 3]]), "not the result"),
        (lambda s, x: s.bn(s.conv(x).flip(1)), "not the result"),
    ],
)  # fmt: skip
def test_not_folded(run, reason, inputs):
    assert reason in why_not(pair(run), inputs=inputs)


def test_a_result_that_is_written_into_is_used():
    assert why_not(pair(written_through_an_older_view))


class Standardised(nn.Conv2d):
    """A subclass that applies other weights than it has."""

    def forward(self, x):
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias)


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize(
    ("run", "modules", "reason"),
    [
        # Two axes of the same size: the norm does not mind which.
        (
            lambda s, x: s.bn(s.conv(x).transpose(1, 2)),
            {"conv": conv(3, 6), "bn": nn.BatchNorm2d(6)},
            "channel by channel",
        ),
        (
            lambda s, x: s.bn(s.conv(x).flatten(2).mT),
            {"conv": conv(3, 36), "bn": nn.BatchNorm1d(36)},
            "channel by channel",
        ),
        (
            lambda s, x: s.bn(s.conv(x)),
            {"bn": nn.BatchNorm2d(4, track_running_stats=False)},
            "batch statistics",
        ),
        (lambda s, x: s.conv(s.bn(x)), {"bn": nn.BatchNorm2d(3)}, "its own result goes to"),
        (lambda s, x: s.bn(s.conv(x)) + s.b(s.conv(x)), {"b": nn.BatchNorm2d(4)}, "for each norm"),
        (lambda s, x: s.bn(y := s.conv(x)) + s.b(y), {"b": nn.BatchNorm2d(4)}, "goes to b"),
        (lambda s, x: s.bn(y := s.conv(x)) + s.b(y), {"b": conv(4, 4)}, "goes to convolution"),
        (lambda s, x: s.bn(s.conv(x)), {"conv": Standardised(3, 4, 3)}, "not a parameter"),
        (
            lambda s, x: s.bn(s.conv(x)) + s.conv.weight.sum(),
            {"conv": nn.utils.parametrizations.weight_norm(conv())},
            "parameters of conv",
        ),
    ],
)
def test_not_folded_because_of_the_modules(run, modules, reason, inputs):
    model = Net(run, **{"conv": conv(), "bn": nn.BatchNorm2d(4)} | copy.deepcopy(modules))
    assert reason in why_not(model, inputs=inputs)


class Same(torch.autograd.Function):
    """Its result is a new view of its input, which is made in C++."""

    @staticmethod
    def forward(ctx, x):
        return x


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize(
    "run",
    [
        lambda s, x: s.bn(y := s.conv(x)) + Same.apply(y),
        lambda s, x: s.bn(y := s.conv(x)) + torch.vmap(lambda z: z)(y),
        lambda s, x: s.bn(y := s.conv(x)) + torch.vmap(torch.tanh)(y),
        lambda s, x: s.bn(y := s.conv(x)) + torch.vmap(lambda z: z + 1 if z.dim() == 3 else z)(y),
        lambda s, x: torch.vmap(lambda z: (s.bn(y := s.conv(z)), y))(x[None]),
        lambda s, x: s.bn(y := s.conv(x)) + torch.func.jvp(torch.tanh, (y,), (y,))[0],
    ],
)
def test_uses_that_python_does_not_see(run, inputs):
    assert why_not(pair(run), inputs=inputs)


@pytest.mark.parametrize("inputs", [True, False])
def test_two_calls_along_different_axes(inputs):
    """Of the inputs of the norm's two calls, no number of dimensions is right for both."""

    def run(s, x):
        return s.bn(s.conv(x)).sum() + s.bn(s.conv(x[None]).transpose(1, 2)).sum()

    model = Net(run, conv=nn.Linear(3, 4), bn=nn.BatchNorm1d(4))
    check(model, image(5, 3), pairs=PAIR)
    folded = fold_bn(model, image(5, 3))
    assert_same(model, folded, image(5, 3))


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize(("name", "reason"), [("conv", "not the result"), ("bn", "as a BatchNorm")])
def test_modules_with_a_forward_of_their_own(name, reason, inputs):
    model = pair(lambda s, x: s.bn(s.conv(x)))
    module = getattr(model, name)
    module.forward = types.MethodType(lambda m, x: type(m).forward(m, x).abs(), module)
    assert reason in why_not(model, inputs=inputs)


@pytest.mark.parametrize("inputs", [True, False])
def test_norm_chosen_by_the_step_of_a_loop(inputs):
    norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))
    model = Net(
        lambda s, x: [s.norms[t](s.conv(xt)) for t, xt in enumerate(x)], conv=conv(), norms=norms
    )
    reason = why_not(model, image(3, 2, 3, 6, 6), norm="norms.2", inputs=inputs)
    assert reason == "conv would need a copy of its weights for each norm"


@needs_2
@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_norm_per_time_step(step_mode, inputs):
    model = nn.Sequential(
        layer.Conv2d(3, 4, 3), layer.BatchNormThroughTime2d(4, 4, step_mode=step_mode)
    )
    functional.set_step_mode(model, step_mode)
    x, steps = (image(4, 2, 3, 6, 6), 1) if step_mode == "m" else (image(), 4)
    reason = why_not(model, x, norm="1.bn_list.0", steps=steps, inputs=inputs)
    assert "0 would need a copy of its weights for each norm" in reason


class Stateful(nn.Module):
    """Adds the bare output from its second step on."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.step = conv(), nn.BatchNorm2d(4), 0

    def forward(self, x):
        self.step += 1
        y = self.conv(x)
        return self.bn(y) if self.step == 1 else self.bn(y) + y


@pytest.mark.parametrize("inputs", [True, False])
def test_second_time_step_reads_the_layer_before_the_norm(inputs):
    model = prepare(Stateful())
    example = image() if inputs else (2, 3, 6, 6)
    assert "also goes to" in plan_folding(model, example).unfolded["bn"]
    assert model.step == 0


@needs_2
@pytest.mark.parametrize("inputs", [True, False])
def test_temporal_effective_norm_is_not_a_plain_one(inputs):
    model = nn.Sequential(
        layer.Conv2d(3, 4, 3, step_mode="m"), layer.TemporalEffectiveBatchNorm2d(4, 4)
    )
    assert "as a BatchNorm" in why_not(model, image(4, 2, 3, 6, 6), norm="1", inputs=inputs)


class CountedNorm(nn.BatchNorm2d):
    """Something of its own beside what a BatchNorm does."""

    def forward(self, x):
        return super().forward(x) * 2


class Zeroed(nn.BatchNorm2d):
    def reset_parameters(self):
        self.reset_running_stats()
        nn.init.constant_(self.weight, 0.5)
        nn.init.zeros_(self.bias)


class Wider(nn.Conv2d):
    def __init__(self, c_in, c_out):
        super().__init__(c_in, c_out, 3)


class Doubled(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight * 2, bias)


@pytest.mark.parametrize(
    ("synapse", "norm", "folds"),
    [
        (Wider(3, 4), Zeroed(4), True),
        (Wider(3, 4), CountedNorm(4), False),
        (Doubled(3, 4, 3), Zeroed(4), False),
        (nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), True),
    ],
)
def test_subclasses_are_folded_if_their_forward_is_torchs_own(synapse, norm, folds):
    model = nn.Sequential(synapse, norm)
    model(torch.randn(2, 3, 6, 6))
    model = prepare(model)
    (row,) = (row for row in get_model_syops(model, image()).layers if row.kind == "norm")
    assert (row.folded == "0") is folds
    assert plan_folding(model, image()).folded == ((("0", "1"),) if folds else ())
    assert_same(model, fold_bn(model, image()), image())


@pytest.mark.parametrize("at", ["0", "0.0"])
@pytest.mark.parametrize("inputs", [True, False])
def test_hooks_before_the_layer_do_no_harm(at, inputs):
    model = prepare(nn.Sequential(nn.Sequential(conv()), nn.BatchNorm2d(4)))
    model.get_submodule(at).register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    check(model, image(), pairs=[("0.0", "1")])


def test_hooks_of_a_norm_stay():
    model = prepare(nn.Sequential(conv(), nn.BatchNorm2d(4)))
    model[1].register_forward_hook(lambda m, args, out: out * 2)
    check(model, image(), pairs=[("0", "1")])


@pytest.mark.parametrize(
    ("at", "hook"),
    [
        ("0", lambda m, args, out: out * 2),
        ("0", lambda m, args, out: out + m.weight.sum()),
        ("0", lambda m, args, out: out + F.conv2d(args[0], m.weight, padding=1)),
    ],
)
def test_hooks_between_layer_and_norm(at, hook):
    model = nn.Sequential(conv(), nn.BatchNorm2d(4))
    model.get_submodule(at).register_forward_hook(hook)
    assert why_not(model, norm="1")
    assert "a hook of 0" in why_not(model, norm="1", inputs=False)


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize(
    ("at", "before", "folds"),
    [(0, True, True), (0, False, False), (1, True, False), (1, False, True), (2, True, True)],
)
def test_hooks_that_change_values(at, before, folds, inputs):
    model = prepare(nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 4)))
    if before:
        model[at].register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    else:
        model[at].register_forward_hook(lambda m, args, out: out * 2)
    example = image() if inputs else (2, 3, 6, 6)
    assert bool(plan_folding(model, example).folded) is folds
    assert_same(model, fold_bn(model, example), image())


def test_hooks_that_only_watch_do_not_move_the_bounds():
    model = prepare(nn.Sequential(conv(), nn.BatchNorm2d(4)))
    model[0].register_forward_hook(lambda m, args, out: None)
    report, bounds = get_model_syops(model, image()), get_model_bounds(model, (2, 3, 6, 6))
    assert bounds.ec_mj[0] <= report.dc_mj <= bounds.ec_mj[1]


def pruned(module):
    prune.l1_unstructured(module, "weight", 0.5)
    return module


@pytest.mark.parametrize("inputs", [True, False])
def test_norm_with_pruned_parameters(inputs):
    model = prepare(nn.Sequential(conv(), nn.BatchNorm2d(4)))
    prune.l1_unstructured(model[1], "weight", 0.5)
    prune.random_unstructured(model[1], "bias", 0.5)
    with torch.no_grad():  # the product with the mask is made when the norm is called
        model[1].weight_orig.uniform_(2, 3)
    folded = fold_bn(model, image() if inputs else (2, 3, 6, 6))
    assert isinstance(folded[1], nn.Identity)
    assert_same(model, folded, image())


@pytest.mark.parametrize(
    "made",
    [
        nn.utils.weight_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.spectral_norm,
        pruned,
    ],
)
@pytest.mark.parametrize("synapse", [conv(), nn.ConvTranspose2d(3, 4, 3), nn.Conv2d(3, 4, 1)])
def test_weights_made_by_a_hook_or_parametrization(made, synapse):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = prepare(nn.Sequential(made(copy.deepcopy(synapse)), nn.BatchNorm2d(4)))
        x = image()
        check(model, x, pairs=[("0", "1")])
        before = outputs(model, x)
        fold_bn(model, x)
    assert all(torch.equal(a, b) for a, b in zip(before, outputs(model, x), strict=True))


def test_data_dependent_loop():
    def run(s, x):
        while x.abs().max() < 100:
            x = s.bn(s.conv(x)) * 50
        return x

    model = prepare(Net(run, conv=conv(3, 3), bn=nn.BatchNorm2d(3)))
    with pytest.raises(ForwardError, match="without values"):
        plan_folding(model, (2, 3, 6, 6))
    assert plan_folding(model, image()).folded == (("conv", "bn"),)
    assert_same(model, fold_bn(model, image()), image())


# --- functions, chains, norms before a layer ------------------------------------------------------


@pytest.mark.parametrize(
    "run",
    [
        lambda s, x: s.bn(F.linear(x, s.fc.weight, s.fc.bias)),
        lambda s, x: s.bn(F.linear(x, s.fc.weight)),
        lambda s, x: s.bn(x @ s.fc.weight.T),
        lambda s, x: s.bn(x @ s.square),
        lambda s, x: s.bn((s.square @ x.T).T),
        lambda s, x: s.bn(torch.addmm(s.fc.bias, x, s.fc.weight.T)),
        lambda s, x: s.bn(x @ s.fc.weight.T + s.fc.bias),
        lambda s, x: s.bn(s.fc(x) + s.more),
        lambda s, x: s.bn(s.fc(x) + s.more + s.more),
        lambda s, x: s.bn(torch.einsum("nc,oc->no", x, s.square)),
        lambda s, x: s.bn(s.fc.forward(x)),
    ],
)
def test_weights_applied_by_a_function(run):
    model = Net(run, fc=nn.Linear(4, 4), bn=nn.BatchNorm1d(4))
    model.square, model.more = (nn.Parameter(torch.randn(*shape)) for shape in ((4, 4), (4,)))
    model, x = prepare(model), image(3, 4)
    assert get_model_syops(model, x).mac * 3 == 3 * 4 * 4
    folded = fold_bn(model, x)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in folded.modules())
    assert_same(model, folded, x)
    assert get_model_syops(folded, x).mac * 3 == 3 * 4 * 4


@pytest.mark.parametrize(
    "run",
    [
        lambda s, x: s.bn(s.conv_t(x)),
        lambda s, x: s.bn(F.conv_transpose2d(x, s.conv_t.weight, s.conv_t.bias, groups=2)),
        lambda s, x: s.bn(F.conv_transpose2d(x, s.conv_t.weight, groups=2)),
        lambda s, x: s.bn(F.conv2d(x, s.conv.weight, s.conv.bias, groups=2)),
    ],
)
def test_groups_of_functions(run):
    model = Net(
        run, conv=nn.Conv2d(4, 6, 3, groups=2), conv_t=nn.ConvTranspose2d(4, 6, 3, groups=2)
    )
    model.bn = nn.BatchNorm2d(6)
    model, x = prepare(model), image(2, 4, 5, 5)
    folded = fold_bn(model, x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert_same(model, folded, x)


def test_several_layers_share_a_norm():
    model = pair(lambda s, x: s.bn(s.a(x)) + s.bn(s.conv(x)))
    model.a = conv()
    check(model, image(), pairs=[("a", "bn"), ("conv", "bn")])


@pytest.mark.parametrize("affine", [True, False])
def test_a_chain_of_norms_becomes_one(affine):
    norms = [nn.BatchNorm2d(4, affine=affine) for _ in range(3)]
    check(nn.Sequential(conv(), *norms), image(), pairs=[("0", "1"), ("0", "2"), ("0", "3")])
    model = prepare(nn.Sequential(nn.ReLU(), *copy.deepcopy(norms)))
    x = image(2, 4, 5, 5)
    folded = fold_bn(model, x)
    assert plan_folding(model, x).folded == (("1", "2"), ("1", "3"))
    assert_same(model, folded, x)
    report = get_model_syops(model, x)
    assert report.mac == get_model_syops(folded, x).mac == 2 * 4 * 5 * 5
    assert get_model_syops(model, x, fold_bn=False).mac == 3 * report.mac


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize(
    ("norm", "after", "shape"),
    [
        (nn.BatchNorm2d(4), [nn.Conv2d(4, 6, 3, 2, groups=2)], (2, 4, 6, 7)),
        (nn.BatchNorm2d(4), [nn.Conv2d(4, 6, (3, 1), dilation=2, bias=False)], (2, 4, 6, 7)),
        (nn.BatchNorm1d(4), [nn.Conv1d(4, 6, 3)], (2, 4, 7)),
        (nn.BatchNorm3d(4), [nn.Conv3d(4, 6, 1)], (2, 4, 2, 3, 3)),
        (nn.BatchNorm1d(4, affine=False), [nn.Linear(4, 3, bias=False)], (5, 4)),
        (nn.BatchNorm2d(4), [nn.Flatten(), nn.Linear(4 * 6, 3)], (5, 4, 2, 3)),
        (nn.BatchNorm2d(4), [nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3)], (2, 4, 6, 7)),
        (nn.BatchNorm2d(4), [nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)], (2, 4, 6, 7)),
        (nn.BatchNorm2d(4), [nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3))],
         (2, 4, 6, 7)),
    ],
)  # fmt: skip
def test_a_norm_before_a_layer(norm, after, shape, inputs):
    model = prepare(copy.deepcopy(nn.Sequential(nn.ReLU(), norm, *after)))
    x = (torch.rand(shape) < 0.5).double()
    folded = fold_bn(model, x if inputs else shape)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in folded.modules())
    assert_same(model, folded, x)
    reports = [get_model_syops(net, x, input_signal="binary") for net in (model, folded)]
    assert reports[0].totals == reports[1].totals
    assert reports[0].totals.ac > 0 == reports[0].totals.mac
    counted = get_model_syops(model, x, input_signal="binary", fold_bn=False).totals
    assert counted.ac == 0 < counted.mac


@pytest.mark.parametrize(
    "run",
    [
        lambda s, x: s.padded(s.bn(x)),
        lambda s, x: s.plain(F.pad(s.bn(x), (1, 1))),
        lambda s, x: s.transposed(s.bn(x)),
        lambda s, x: s.plain(s.bn(x)) + s.bn(x)[..., 1:-1, 1:-1],
        lambda s, x: s.plain(y := s.bn(x)) + s.padded(y)[..., 1:-1, 1:-1],
        lambda s, x: s.plain(s.bn(x)) + s.plain(x),
        lambda s, x: s.plain(s.bn(x)) + s.plain(s.other(x)),
        lambda s, x: s.plain(s.bn(x) + s.plain.bias.sum()),
        lambda s, x: (s.plain(y := s.bn(x)), y),
        lambda s, x: F.conv2d(s.bn(x), s.plain.weight),
        lambda s, x: s.plain(s.bn(x)) + s.plain.weight.sum(),
        lambda s, x: s.plain(F.max_pool2d(s.bn(x), 2, 1)),
        lambda s, x: s.plain(s.bn(x).transpose(1, 2)),
    ],
)
def test_norms_before_a_layer_that_are_not_folded(run):
    model = Net(
        run,
        bn=nn.BatchNorm2d(4),
        other=nn.BatchNorm2d(4),
        plain=nn.Conv2d(4, 4, 3),
        padded=nn.Conv2d(4, 4, 3, padding=1),
        transposed=nn.ConvTranspose2d(4, 4, 3),
    )
    assert why_not(model, image(2, 4, 4, 6))


def test_an_input_that_changes_after_its_norm():
    def run(s, x):
        y = s.bn(x)
        x.add_(1)
        return s.plain(y)

    model = Net(run, bn=nn.BatchNorm2d(4), plain=nn.Conv2d(4, 4, 3))
    assert why_not(model, image(2, 4, 4, 6))


# --- random networks ------------------------------------------------------------------------------


class Program(nn.Module):
    """A random network of two convolutions and two norms; its result is all that is not used up.

    As many rows and columns as channels: no shape tells a wrong axis.
    """

    def __init__(self, steps):
        super().__init__()
        self.convs = nn.ModuleList(conv(3, 3) for _ in range(2))
        self.bns = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(2))
        self.steps = steps

    def forward(self, x):
        values, used = [x], set()
        for kind, which, a, b in self.steps:
            a, b = a % len(values), b % len(values)
            used.add(a)
            if kind == "conv":
                values.append(self.convs[which](values[a]))
            elif kind == "bn":
                values.append(self.bns[which](values[a]))
            elif kind == "transpose":
                values.append(values[a].transpose(2 - which, 3))
            elif kind == "tanh":
                values.append(values[a].tanh())
            elif kind == "add_":
                values[a].add_(1)
            else:
                used.add(b)
                values.append(values[a] + values[b])
        return [v for i, v in enumerate(values) if i not in used]


kinds = st.sampled_from(["conv", "conv", "conv", "bn", "bn", "bn", "transpose", "tanh", "add"])
latest = st.sampled_from([-1, -1, -1, -2, -3, 0])


def programs(kinds):
    return st.lists(
        st.tuples(kinds, st.sampled_from([0, 1]), latest, latest), min_size=2, max_size=7
    )


@settings(max_examples=50, deadline=None, derandomize=True)
@given(programs(st.one_of(kinds, st.just("add_"))), st.booleans())
def test_random_networks_compute_the_same(steps, example):
    torch.manual_seed(1)
    model, x = prepare(Program(steps)), image(3, 3, 3, 3)
    assert_same(model, fold_bn(model, x if example else tuple(x.shape)), x)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(programs(kinds), st.booleans())
def test_random_networks_are_folded_where_it_can_be_done(steps, example):
    """Which pairs can be folded is found by trying each one alone."""
    torch.manual_seed(1)
    model, x = prepare(Program(steps)), image(3, 3, 3, 3)
    expected = set()
    truth = outputs(model, x)
    for j in range(2):
        without = copy.deepcopy(model)
        without.bns[j] = nn.Identity()
        if all(torch.equal(a, b) for a, b in zip(truth, outputs(without, x), strict=True)):
            continue  # not called
        for i in range(2):
            tried = copy.deepcopy(without)
            tried.convs[i] = fuse_conv_bn_eval(model.convs[i], model.bns[j])
            result = outputs(tried, x)
            if all(torch.allclose(a, b, atol=1e-9) for a, b in zip(truth, result, strict=True)):
                expected.add((f"convs.{i}", f"bns.{j}"))
    plan = plan_folding(model, x if example else tuple(x.shape))
    assert expected <= set(plan.folded)


# --- manners --------------------------------------------------------------------------------------


def test_fold_bn_leaves_the_model_unchanged():
    model = prepare(Residual()).train()
    model.blocks[0].eval()
    x = image()
    with torch.random.fork_rng():
        model(x)[0].sum().backward()  # leaves states with a graph, and gradients
    handles = [m.register_forward_hook(lambda *a: None) for m in model.modules()]

    def state():
        return [
            (
                *(path, id(m), m.training),
                *((k, id(v)) for k, v in vars(m).items()),
                *(list(m._forward_hooks), list(m._forward_pre_hooks)),
                *((k, id(v)) for k, v in getattr(m, "_memories", {}).items()),
                *((k, id(v), id(v.grad)) for k, v in m._parameters.items() if v is not None),
            )
            for path, m in model.named_modules()
        ]

    before, values = state(), copy.deepcopy(model.state_dict())
    memories = [m.v.detach().clone() for m in model.modules() if isinstance(m, neuron.IFNode)]
    rng = torch.get_rng_state()
    given = x.clone()
    for inputs in ((2, 3, 6, 6), x):
        plan_folding(model, inputs)
        folded = fold_bn(model, inputs)
        assert not any(m.training for m in folded.modules())
        assert not {id(p) for p in folded.parameters()} & {id(p) for p in model.parameters()}
    assert state() == before
    assert torch.equal(rng, torch.get_rng_state())
    assert torch.equal(given, x)
    for key, value in model.state_dict().items():
        assert torch.equal(value, values[key]), key
    after = [m.v for m in model.modules() if isinstance(m, neuron.IFNode)]
    assert all(torch.equal(a, b) for a, b in zip(memories, after, strict=True))
    for handle in handles:
        handle.remove()


@needs_2
def test_state_of_earlier_steps_is_no_obstacle():
    model = prepare(nn.Sequential(conv(), layer.BatchNormThroughTime2d(1, 4), neuron.IFNode()))
    model(image(5, 3, 6, 6))
    assert plan_folding(model, image()).folded == (("0", "1.bn_list.0"),)
    assert (model[1].t, model[2].v.shape) == (0, (5, 4, 6, 6))


def test_random_numbers_stay_where_they_were():
    model = pair(lambda s, x: s.bn(s.conv(x + torch.rand_like(x))))
    before = torch.get_rng_state()
    plan_folding(model, torch.ones(1, 3, 5, 5))
    assert torch.equal(before, torch.get_rng_state())


def test_model_that_changes_its_input_does_not_change_ours():
    model = prepare(pair(lambda s, x: s.bn(s.conv(x.mul_(2)))))
    x = image()
    given = x.clone()
    fold_bn(model, x)
    assert torch.equal(x, given)


def test_trainability_and_dtype_are_kept():
    model = nn.Sequential(conv(), nn.BatchNorm2d(4)).half()
    model[0].weight.requires_grad_(False)
    folded = fold_bn(model, (1, 3, 6, 6))
    assert folded[0].weight.dtype == folded[0].bias.dtype == torch.float16
    assert not folded[0].weight.requires_grad
    model = nn.Sequential(conv(), nn.BatchNorm2d(4))
    assert fold_bn(model, (1, 3, 6, 6))[0].weight.requires_grad


def test_folding_twice_changes_nothing():
    model = prepare(
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), conv(), nn.BatchNorm2d(4))[:2]
    )
    once = fold_bn(model, (2, 3))
    assert plan_folding(once, (2, 3)).folded == ()
    assert_same(model, fold_bn(once, (2, 3)), image(2, 3))


def test_norm_that_takes_another_axis_for_other_inputs():
    """[N, C] -> Linear -> BatchNorm1d is folded; [N, L, C] with L = C is another matter."""
    model = prepare(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)))
    x = image(3, 5, 6)
    folded = fold_bn(model, (3, 6))
    assert_same(model, folded, image(3, 6))
    with pytest.raises(SyopsValueError, match=r"folded for \[2\] dimensions got 3"):
        folded(x)
    assert "channel by channel" in plan_folding(model, x).unfolded["1"]


def test_norms_left_are_warned_of():
    model = nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
    with pytest.warns(UserWarning, match=r"1 batch norms were not folded:\n  3: its input is not"):
        fold_bn(model, image().float())
    text = str(plan_folding(model, image().float()))
    assert "1: folded into 0" in text
    assert "3: its input is not the result" in text


def test_nothing_is_said_where_all_is_folded(recwarn):
    fold_bn(nn.Sequential(conv(), nn.BatchNorm2d(4)), (1, 3, 6, 6))
    assert not recwarn


@pytest.mark.parametrize("inputs", [image(), (image(),), {"x": image()}, {"x": image(), "y": 1}])
def test_forms_of_inputs_of_fold_bn(inputs):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = conv(), nn.BatchNorm2d(4)

        def forward(self, x, *, y=0):
            return self.bn(self.conv(x)) + y

    assert plan_folding(prepare(Two()), inputs).folded == (("conv", "bn"),)


@pytest.mark.parametrize("function", [fold_bn, plan_folding])
def test_without_inputs_it_is_said_what_to_type(function):
    with pytest.raises(SyopsTypeError, match=r"fold_bn\(model, \(1, 3, 224, 224\)\)"):
        function(nn.Sequential(conv(), nn.BatchNorm2d(4)))


@pytest.mark.parametrize("function", [fold_bn, plan_folding])
@pytest.mark.parametrize("model", [None, "resnet18", torch.zeros(3), nn.Linear, lambda x: x])
def test_fold_bn_of_something_else(function, model):
    with pytest.raises(SyopsTypeError, match=r"model must be a torch.nn.Module"):
        function(model, (1, 3, 6, 6))


def test_scripted_module():
    with pytest.raises(SyopsTypeError, match="scripted"):
        fold_bn(nn.Sequential(torch.jit.script(nn.Sequential(conv(), nn.BatchNorm2d(4)))), image())


def test_module_that_cannot_be_copied():
    model = nn.Sequential(conv(), nn.BatchNorm2d(4))
    model.stream = (i for i in range(3))
    with pytest.raises(SyopsTypeError, match="copy"):
        fold_bn(model, image().float())


def test_inputs_of_another_type():
    with pytest.raises(SyopsTypeError, match="inputs: .* got list"):
        fold_bn(nn.Sequential(conv(), nn.BatchNorm2d(4)), [image()])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((1, 3, 8.5, 8), "must be the shape"),
        (((1, 3, 8, 8),), "must be the shape"),
        ((), "must be the shape"),
        (torch.empty(1, 3, 8, 8, device="meta"), "meta device .* fold_bn"),
    ],
)
def test_inputs_without_values(inputs, words):
    with pytest.raises((SyopsTypeError, SyopsValueError), match=f"^inputs.*{words}"):
        fold_bn(nn.Sequential(conv(), nn.BatchNorm2d(4)), inputs)


def test_inputs_that_the_model_rejects():
    with pytest.raises(ForwardError, match=r"failed in 0 \(Conv2d\)") as caught:
        fold_bn(nn.Sequential(conv(), nn.BatchNorm2d(4)), image(2, 5, 6, 6).float())
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("shape", "at"),
    [
        ((3, 2, 4, 6, 6), lambda y, t: y[t]),
        ((2, 3, 4, 6, 6), lambda y, t: y[:, t]),
        ((2, 3, 4, 6, 6), lambda y, t: y[:].select(1, t)),
        ((2, 3, 4, 6, 6), lambda y, t: y.detach()[:, t]),
        ((2, 6, 6, 3, 4), lambda y, t: y[..., t, :].movedim(-1, 1)),
        ((6, 4, 6, 6), lambda y, t: y[2 * t : 2 * t + 2]),
    ],
)
def test_time_steps_written_into_a_buffer(shape, at):
    def run(self, x):
        out = x.new_zeros(shape)
        for t, step in enumerate(x):
            at(out, t).copy_(self.conv(step))
        return self.bn(torch.cat([at(out, t) for t in range(3)]))

    model = Net(run, conv=conv(), bn=nn.BatchNorm2d(4))
    check(model, image(3, 2, 3, 6, 6), pairs=[("conv", "bn")])


@pytest.mark.parametrize(
    "run",
    [
        lambda out, step: out[:2],
        lambda out, step: out + 1,
        lambda out, step: out[0].mul_(2) + out[1],
        lambda out, step: out.copy_(step.roll(1, 0)),
    ],
)
def test_a_buffer_that_holds_anything_else_is_not_folded(run):
    def forward(self, x):
        out = x.new_zeros(2, 4, 6, 6)
        out[0] = self.conv(x[:1])[0]
        early = run(out, self.conv(x))
        out[1] = self.conv(x[1:])[0]
        return self.bn(out), early

    assert why_not(Net(forward, conv=conv(), bn=nn.BatchNorm2d(4)))


# --- one module, several names --------------------------------------------------------------------


def test_a_pair_that_is_registered_twice_is_folded_once():
    synapse, norm = conv(4, 4), nn.BatchNorm2d(4)
    model = nn.Sequential(synapse, norm, nn.ReLU(), synapse, norm)
    check(model, image(2, 4, 6, 6), pairs=[("0", "1")])


def test_a_layer_with_two_norms_by_two_names():
    synapse = conv(4, 4)
    norms = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    model = nn.Sequential(synapse, norms[0], nn.ReLU(), synapse, norms[1])
    assert "copy" in why_not(model, image(2, 4, 6, 6), norm="1")


def test_modules_that_are_listed_before_they_are_called():
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.all = nn.ModuleList([conv(), nn.BatchNorm2d(4)])
            self.block = nn.Sequential(*self.all)

        def forward(self, x):
            return self.block(x)

    model = prepare(Listed())
    check(model, image(), pairs=[("all.0", "all.1")])
    rows = {row.path: row.folded for row in get_model_syops(model, image()).layers}
    assert rows == {"block.0": None, "block.1": "block.0"}


# --- what is added to results ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "read",
    [
        lambda s: s.conv.bias,
        lambda s: s.bn.bias,
        lambda s: s.bn.running_mean,
        lambda s: s.other.bias,
    ],
)
def test_an_added_parameter_that_belongs_to_a_layer(read):
    def run(s, x):
        y = s.other(s.conv(x))
        return s.bn(s.last(y.relu()) + read(s)[:, None, None])

    model = prepare(
        Net(run, conv=conv(), other=nn.BatchNorm2d(4), last=conv(4, 4), bn=nn.BatchNorm2d(4))
    )
    for example in (image(), (2, 3, 6, 6)):
        assert_same(model, fold_bn(model, example), image())


# --- linear layers on tensors that lie in memory in another order ---------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_that_add_their_bias_apart(bias):
    def before(s, x):
        return s.fc(s.bn(x.sign()).transpose(1, 2))

    def after(s, x):
        return s.bn(s.fc(x.transpose(1, 2)).transpose(1, 2))

    def both_ways(s, x):
        y = x.transpose(1, 2)
        return [s.bn(s.fc(read).transpose(1, 2)) for read in (y, y.contiguous())]

    for run in (before, after, both_ways):
        layers = {"fc": nn.Linear(4, 4, bias=bias), "bn": nn.BatchNorm1d(4)}
        check(Net(run, **layers), image(3, 4, 5), pairs=[("fc", "bn")])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("contiguous", [True, False])
def test_a_norm_before_a_recurrent_layer_costs_the_same_in_bounds(kind, contiguous):
    def run(s, x):
        y = s.bn(x.sign()).transpose(1, 2)
        return s.rnn(y.contiguous() if contiguous else y)[0]

    model = prepare(Net(run, bn=nn.BatchNorm1d(4), rnn=kind(4, 2, batch_first=True)))
    x = image(3, 4, 5)
    report, bounds = get_model_syops(model, x), get_model_bounds(model, (3, 4, 5))
    assert report.mac == bounds.mac
    assert plan_folding(model, x).folded == plan_folding(model, (3, 4, 5)).folded == ()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("run", "folded"),
    [
        (lambda s, x: s.last(s.bn(s.conv(x)) + s.more), ["bn", "last"]),
        (lambda s, x: s.last(s.bn(s.conv(x) + s.more) + s.other), ["bn", "last"]),
        (lambda s, x: s.last(s.bn(s.conv(x)) + s.more) + s.last(s.bn(x)), []),
        (lambda s, x: s.last(s.bn(s.conv(x)) + s.more.exp()), ["bn"]),
        (lambda s, x: s.last(s.bn(x.sign()) + s.more), ["last"]),
        (lambda s, x: s.point(s.last(s.bn(x.sign()) + s.more)), ["last"]),
        (lambda s, x: s.point(s.bn(x.sign()) + s.more), []),
        (lambda s, x: s.point(s.last(s.bn(x.sign()))), ["bn", "last"]),
    ],
)
def test_parameters_added_between_norms(run, folded, bias):
    model = Net(
        run,
        conv=conv(4, 4, bias=bias),
        bn=nn.BatchNorm2d(4),
        last=nn.BatchNorm2d(4),
        point=nn.Conv2d(4, 4, 1, bias=bias),
    )
    model.more, model.other = (nn.Parameter(torch.randn(4, 1, 1)) for _ in range(2))
    model, x = prepare(model), image(2, 4, 6, 6)
    for example in (x, tuple(x.shape)):
        assert sorted(norm for _, norm in plan_folding(model, example).folded) == folded
        assert_same(model, fold_bn(model, example), x)
    assert get_model_syops(fold_bn(model, x), x).mac == get_model_syops(model, x).mac


@pytest.mark.parametrize("inputs", [True, False])
def test_an_input_that_changes_after_its_norm_was_moved(inputs):
    def run(s, x):
        x = x.sign()
        y = s.bn(x).transpose(1, 2)
        x.add_(1)
        return s.fc(y)

    model = prepare(Net(run, bn=nn.BatchNorm1d(4), fc=nn.Linear(4, 4)))
    example = image(3, 4, 5) if inputs else (3, 4, 5)
    assert_same(model, fold_bn(model, example), image(3, 4, 5))


def test_a_norm_of_a_buffer_before_a_layer_reads_what_was_written():
    def run(s, x):
        out = torch.zeros_like(x)
        out[0] = s.conv(x)[0]
        return s.fc(s.bn(out).permute(0, 2, 3, 1))

    layers = {"conv": nn.Conv2d(4, 4, 1), "bn": nn.BatchNorm2d(4), "fc": nn.Linear(4, 4)}
    bounds = get_model_bounds(prepare(Net(run, **layers)), (2, 4, 3, 3), input_signal="binary")
    (row,) = [row for row in bounds.layers if row.path == "fc"]
    assert (row.signal, row.ec_mj[0]) == ("analog", row.ec_mj[1])


@pytest.mark.parametrize(
    "parts",
    [
        lambda x: (x[:2], x[2:]),
        lambda x: x.split(2),
        lambda x: x.split([2, 2]),
        lambda x: x.chunk(2),
        lambda x: x.tensor_split(2),
        lambda x: torch.unsafe_split_with_sizes(x, [2, 2]),
    ],
    ids=["slices", "split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split_with_sizes"],
)
def test_norms_of_parts_are_told_apart_however_parts_are_cut(parts):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.one, self.two = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
            self.last = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x):
            first, second = parts(self.conv(x))
            return self.last(torch.cat((self.one(first), self.two(second))))

    report = get_model_syops(Net(), torch.randn(4, 2, 5, 5))
    norms = [row for row in report.rows if row.kind == "norm"]
    assert [(row.folded, row.mac) for row in norms] == [("conv", 0), ("conv", 0)]
    assert all(row.note for row in norms)  # one copy of the weights for each part
