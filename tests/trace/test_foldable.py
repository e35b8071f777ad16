"""What a report calls folded, `fold_bn` folds; and the folded model then costs what it said."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from spikingjelly.activation_based import functional
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations
from torch.utils._pytree import tree_leaves

from syops import check_full_spike, fold_bn, get_model_bounds, get_model_syops
from syops.fold import plan_folding
from syops.models import create_model
from tests.support.examples import examples
from tests.support.networks import BLOCKS, TINY, bundled, frame

C = SIZE = 3  # no shape tells a wrong axis


class Fire(nn.Module):
    def forward(self, v):
        return (v > 0).to(v)


class Program(nn.Module):
    """A random network: each step makes a value of [N, C, SIZE, SIZE] of earlier ones."""

    def __init__(self, steps, reparametrised):
        super().__init__()
        self.steps = steps
        self.fire = Fire()
        self.padded = nn.ModuleList(nn.Conv2d(C, C, 3, padding=1) for _ in range(2))
        self.plain = nn.ModuleList(nn.Conv2d(C, C, 1, groups=g, bias=g > 1) for g in (1, 3))
        self.transposed = nn.ModuleList(nn.ConvTranspose2d(C, C, 1, groups=g) for g in (1, 3))
        self.linear = nn.ModuleList(nn.Linear(C, C, bias=b) for b in (False, True))
        self.flat = nn.ModuleList(nn.Linear(C * SIZE**2, C * SIZE**2) for _ in range(2))
        self.bn = nn.ModuleList(nn.BatchNorm2d(C, affine=a) for a in (True, True, False))
        self.weight = nn.Parameter(torch.randn(C, C, 1, 1))
        self.shift = nn.Parameter(torch.randn(C, 1, 1))
        self.sequence = nn.Linear(C, C)
        self.again = nn.Sequential(self.plain[1], self.bn[0])
        if reparametrised:
            parametrizations.weight_norm(self.plain[0])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                nn.utils.weight_norm(self.linear[1])

    def forward(self, x):
        values, used = [x], {0}
        for kind, which, back in self.steps:
            read = [max(0, len(values) - 1 - back)]
            if kind == "add":
                read.append(which % len(values))
            used.update(read)
            values.append(getattr(self, f"do_{kind}")(which, *(values[i] for i in read)))
        return [value for i, value in enumerate(values) if i not in used]

    def do_fire(self, which, x):
        return self.fire(x)

    def do_padded(self, which, x):
        return self.padded[which % 2](x)

    def do_plain(self, which, x):
        return self.plain[which % 2](x)

    def do_transposed(self, which, x):
        return self.transposed[which % 2](x)

    def do_linear(self, which, x):
        return self.linear[which % 2](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def do_flat(self, which, x):
        return self.flat[which % 2](x.flatten(1)).unflatten(1, (C, SIZE, SIZE))

    def do_function(self, which, x):
        return F.conv2d(x, self.weight)

    def do_bn(self, which, x):
        return self.bn[which](x)

    def do_add(self, which, x, y):
        return x + y

    def do_shift(self, which, x):
        return x + self.shift

    def do_own(self, which, x):
        owner = (self.plain[1], self.bn[0], self.bn[1])[which]
        name = "running_mean" if which == 2 else "bias"
        return x + getattr(owner, name).view(C, 1, 1)

    def do_again(self, which, x):
        return self.again(x) if which else self.again[1](x)

    def do_sequence(self, which, x):
        y = x.flatten(2).transpose(1, 2)
        y = self.sequence(y.contiguous() if which == 2 else y)
        return y.transpose(1, 2).unflatten(2, x.shape[2:])

    def do_pad(self, which, x):
        return F.pad(x[..., 1:], (1, 0))

    def do_pool(self, which, x):
        return F.max_pool2d(x, 1) if which else F.avg_pool2d(x, 3, 1, 1)

    def do_move(self, which, x):
        if which == 2:
            return torch.stack([x, x]).flatten(0, 1)[: len(x)]
        return x.transpose(2 - which, 3)

    def do_steps(self, which, x):
        return torch.cat([self.bn[which](self.plain[1](step[None])) for step in x])

    def do_written(self, which, x):
        if which == 0:
            out = torch.zeros_like(x)
            for step in range(len(x)):
                out[step] = self.plain[1](x[step : step + 1])[0]
            return out
        if which == 1:
            out = x.new_empty(len(x), 2, *x.shape[1:])
            out[:, 1] = self.plain[1](x)
            out[:, 0] = self.plain[0](x)
            return out.flatten(0, 1)[: len(x)]
        out = x.new_empty(x.shape)
        flat = out.flatten(2)
        out[:1] = self.plain[1](x[:1])
        out[1:].copy_(self.plain[1](x[1:]))
        return flat.unflatten(2, x.shape[2:])

    def do_spoiled(self, which, x):
        out = torch.zeros_like(x)
        for step in range(len(x)):
            out[step] = self.plain[1](x[step : step + 1])[0]
            if which == 0 and step:
                out[step] = out[step - 1]
            if which == 1:
                out[step] *= 2
        return out.roll(1, 0) if which == 2 else out

    def do_halved(self, which, x):
        out = torch.zeros_like(x)
        out[which % 2] = self.plain[1](x)[0]
        return out

    def do_reuse(self, which, x):
        layer = (self.plain[0], self.linear[1], self.bn[0])[which]
        return x + layer.weight.sum()


KINDS = [name.removeprefix("do_") for name in vars(Program) if name.startswith("do_")]
OFTEN = ["bn"] * 12 + ["fire"] * 6 + ["plain", "linear", "padded", "flat", "written"] * 2
PROGRAMS = st.lists(
    st.tuples(
        st.sampled_from(KINDS + OFTEN), st.sampled_from([0, 1, 2]), st.sampled_from([0, 0, 0, 1, 2])
    ),
    min_size=2,
    max_size=9,
)


def randomised(model):
    """In double precision, its norms far from the identity."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.3, 3)
            for parameter in (module.weight, module.bias):
                if parameter is not None:
                    nn.init.normal_(parameter)
    return model.double().eval()


def folded_in(report, model):
    """The norms that a report calls folded, each with the layers it is folded into.

    By their first names: rows have those that modules were called by.
    """
    modules = list(model.named_modules(remove_duplicate=False))
    first = {id(module): path for path, module in reversed(modules)}
    named = {path: first[id(module)] for path, module in modules}
    rows = [row for row in report.layers if row.kind == "norm"]
    left = {named[row.path] for row in rows if row.folded is None or row.note}
    found = {}
    for row in rows:
        if named[row.path] not in left:
            layers = (named.get(path, path) for path in row.folded.split(", "))
            found.setdefault(named[row.path], set()).update(layers)
    return found


def folded_by(plan):
    found = {}
    for layer, norm in plan.folded:
        found.setdefault(norm, set()).add(layer)
    return found


def quietly(function, *args):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*batch norms were not folded")
        return function(*args)


def norms_left(model):
    return {path for path, module in model.named_modules() if isinstance(module, _BatchNorm)}


def check(model, x, **options):
    """The report and `fold_bn` agree, and the folded model computes and costs the same."""
    original = copy.deepcopy(model.state_dict())
    report = get_model_syops(model, x, **options)
    expected = folded_in(report, model)
    assert folded_by(plan_folding(model, x)) == expected
    assert folded_by(plan_folding(model, tuple(x.shape))) == expected
    folded = quietly(fold_bn, model, x)
    assert norms_left(folded) == norms_left(model) - expected.keys()
    with torch.no_grad():
        for ours, theirs in zip(folded(x), model(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)
    assert model.state_dict().keys() == original.keys()
    assert all(torch.equal(value, original[name]) for name, value in model.state_dict().items())
    assert get_model_syops(folded, x, **options).totals == report.totals
    bounds = get_model_bounds(model, tuple(x.shape), input_signal=options["input_signal"])
    alike = get_model_bounds(folded, tuple(x.shape), input_signal=options["input_signal"])
    assert (alike.ec_mj, alike.mac, alike.dense_ac) == (bounds.ec_mj, bounds.mac, bounds.dense_ac)
    assert bounds.ec_mj[0] <= report.dc_mj * (1 + 1e-12)
    assert report.dc_mj <= bounds.ec_mj[1] * (1 + 1e-12)
    proofs = [
        check_full_spike(net, tuple(x.shape), input_signal=options["input_signal"])
        for net in (model, folded)
    ]
    told = [[(row.layer, row.verdict, row.values) for row in proof.rows] for proof in proofs]
    assert told[0] == told[1]
    return report


@examples(60)  # README, Limits: some are left
@given(PROGRAMS, st.booleans(), st.sampled_from(["binary", "analog", "ternary"]), st.integers(0, 9))
def test_counter_and_fold_bn_agree_on_random_networks(steps, reparametrised, signal, seed):
    torch.manual_seed(seed)
    model = randomised(Program(steps, reparametrised))
    x = torch.randint(-1 if signal == "ternary" else 0, 2, (2, C, SIZE, SIZE)).double()
    check(model, x, input_signal=signal)


@pytest.mark.parametrize("name", bundled(quick=TINY, slow=BLOCKS))
def test_counter_and_fold_bn_agree_on_bundled_networks(name):
    torch.manual_seed(0)
    steps = {} if name.startswith("resnet") else {"T": 2}
    model = randomised(create_model(name, num_classes=4, **steps))
    events = "7b" in name
    x = torch.rand((2, 1, 2, 128, 128) if events else (1, *frame(name)), dtype=torch.float64)
    report = get_model_syops(model, x, batch_dim=int(events))
    expected = folded_in(report, model)
    assert expected
    assert folded_by(plan_folding(model, tuple(x.shape))) == expected
    folded = quietly(fold_bn, model, x)
    assert norms_left(folded) == norms_left(model) - expected.keys()
    functional.reset_net(model)
    with torch.no_grad():
        ours, theirs = tree_leaves(folded(x)), tree_leaves(model(x))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)
