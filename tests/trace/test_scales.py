"""Factors that weights can take up: one number, or one for each of their input channels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from syops import check_full_spike, get_model_syops
from tests.support.examples import examples

CHANNELS, SIZE, BATCH, STEPS = 4, 4, 3, 2


class Layers(nn.Module):
    """Spikes [T, N, C, H, W] are brought somewhere by ``make``, and go into ``weights``."""

    def __init__(self, make: Callable[[Layers, Tensor], Tensor], weights: nn.Module) -> None:
        super().__init__()
        self.make, self.weights = make, weights
        self.a = nn.Parameter(torch.tensor(0.7))
        self.b = nn.Parameter(torch.tensor([1.3]))
        self.p = nn.Parameter(torch.tensor([0.3, -1.1, 0.7, 1.9]))
        self.q = nn.Parameter(torch.tensor([1.7, 0.9, -0.3, 0.1]).reshape(CHANNELS, 1, 1))
        self.row = nn.Parameter(torch.linspace(0.1, 2, SIZE).reshape(SIZE, 1))
        self.step = nn.Parameter(torch.tensor([1.0, 0.9]).reshape(STEPS, 1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.weights(self.make(self, x))


def conv() -> nn.Module:
    return nn.Conv2d(CHANNELS, 2, 3, padding=1, bias=False)


def arriving(net: Layers) -> Tensor:
    """What reaches the weights, over many inputs: input channels last."""
    arrived = []
    handle = net.weights.register_forward_pre_hook(lambda module, args: arrived.append(args[0]))
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(4):
            net((torch.rand(STEPS, BATCH, CHANNELS, SIZE, SIZE) < 0.5).float())
    handle.remove()
    dim = 1 if isinstance(net.weights, nn.Conv2d) else -1
    return torch.cat([x.movedim(dim, -1).flatten(0, -2) for x in arrived])


def folds(x: Tensor) -> bool:
    """Whether each input channel has one magnitude beside 0, so that weights can take it up."""
    return all(column[column != 0].abs().unique().numel() <= 1 for column in x.unbind(-1))


def row(net: Layers):
    shape = (STEPS, BATCH, CHANNELS, SIZE, SIZE)
    return check_full_spike(net, shape, batch_dim=1, allow=(), input_signal="binary").rows[-1]


def flat(x: Tensor) -> Tensor:
    return x.flatten(0, 1)


SCALED: dict[str, tuple[Callable[[Layers, Tensor], Tensor], bool, bool]] = {
    # name: what is done, into a linear layer, whether weights take the factor up
    "a number": (lambda m, x: flat(x * m.a), False, True),
    "exp": (lambda m, x: flat(x * m.a.exp()), False, True),
    "clamp": (lambda m, x: flat(x * m.b.clamp(min=0.1)), False, True),
    "sigmoid": (lambda m, x: flat(x / m.a.sigmoid()), False, True),
    "mean of many": (lambda m, x: flat(x * m.p.abs().mean()), False, True),
    "element": (lambda m, x: flat(x * m.p[1]), False, True),
    "constant, not exact": (lambda m, x: flat(x * torch.exp(torch.tensor(0.3))), False, True),
    "two numbers": (lambda m, x: flat(x * m.a * m.b), False, True),
    "the same twice": (lambda m, x: flat(torch.cat([m.a.exp() * x, x * m.a.exp()])), False, True),
    "two made": (lambda m, x: flat(torch.cat([x * m.a.exp(), x * m.a.sin()])), False, False),
    "channel": (lambda m, x: flat(x) * m.q, False, True),
    "channel before": (lambda m, x: flat(x * m.q), False, True),
    "channel by a view": (lambda m, x: flat(x) * m.p.view(1, -1, 1, 1), False, True),
    "channel by None": (lambda m, x: flat(x) * m.p[None, :, None, None], False, True),
    "channel, in place": (lambda m, x: flat(x).clone().mul_(m.q), False, True),
    "channel, divided": (lambda m, x: flat(x) / m.q, False, True),
    "channel, computed": (lambda m, x: flat(x) * (m.q.exp() + m.a), False, True),
    "two of channels": (lambda m, x: flat(x) * m.q * m.p[:, None, None], False, True),
    "channel and number": (lambda m, x: m.a * flat(x) * m.q, False, True),
    "channel, pooled by max": (lambda m, x: F.max_pool2d(flat(x) * m.q, 2), False, True),
    "channel, padded": (lambda m, x: F.pad(flat(x) * m.q, (1, 1, 1, 1)), False, True),
    "channel, flipped": (lambda m, x: (flat(x) * m.q).flip(-1), False, True),
    "channel, enlarged": (lambda m, x: F.interpolate(flat(x) * m.q, scale_factor=2), False, True),
    "channel, a step": (lambda m, x: torch.stack([s * m.q for s in x]).flatten(0, 1), False, True),
    "channel, one step": (lambda m, x: (x * m.q)[0], False, True),
    "channel, mean": (lambda m, x: flat(x) * m.q + flat(x.flip(0)) * m.p[0], False, False),
    "residual": (lambda m, x: flat(x) * m.q + flat(x.flip(0)) * m.p[:, None, None], False, False),
    "bias": (lambda m, x: flat(x) * m.q + m.p[:, None, None], False, False),
    "row": (lambda m, x: flat(x) * m.row, False, False),
    "step": (lambda m, x: flat(x * m.step), False, False),
    "channels exchanged": (lambda m, x: flat(x * m.q).transpose(1, 2), False, False),
    "channels shuffled": (lambda m, x: F.channel_shuffle(flat(x) * m.q, 2), False, None),
    "channels rolled": (lambda m, x: (flat(x) * m.q).roll(1, 1), False, None),
    "channels last": (lambda m, x: (flat(x) * m.q).permute(0, 2, 3, 1), True, True),
    "tokens": (lambda m, x: (flat(x) * m.q).flatten(2).transpose(1, 2), True, True),
    "last dimension": (lambda m, x: flat(x) * m.p, True, True),
    "wrong dimension": (lambda m, x: flat(x) * m.q, True, False),
    "both": (lambda m, x: flat(x) * m.q * m.p, True, False),
    "flattened": (lambda m, x: (flat(x) * m.q).flatten(1), True, True),
    "flattened, by row": (lambda m, x: (flat(x) * m.row).flatten(1), True, True),
    "flattened samples": (lambda m, x: (flat(x) * m.q).flatten(0, 1).flatten(1), True, False),
    "heads": (
        lambda m, x: (flat(x) * m.q).flatten(2).transpose(1, 2).unflatten(2, (2, 2))
        .transpose(1, 2).transpose(1, 2).flatten(2), True, True),
    "heads taken apart": (
        lambda m, x: (flat(x) * m.q).flatten(2).transpose(1, 2).unflatten(2, (2, 2)), True, False),
}  # fmt: skip


@pytest.mark.parametrize("name", SCALED)
def test_weights_take_up_a_factor_along_their_input_channels_alone(name):
    make, is_linear, expected = SCALED[name]
    torch.manual_seed(1)
    probe = Layers(make, nn.Identity())
    width = probe(torch.zeros(STEPS, BATCH, CHANNELS, SIZE, SIZE)).shape[-1]
    net = Layers(make, nn.Linear(width, 2, bias=False) if is_linear else conv())
    verdict = row(net).verdict == "spike"
    truth = folds(arriving(net))
    assert truth or not verdict
    if expected is not None:
        assert (verdict, truth) == (expected, expected), name


def test_the_same_function_with_the_factors_in_the_weights():
    """[N, C, H, W] flattened: a factor for each channel is one for each input feature."""
    make, _, _ = SCALED["flattened"]
    torch.manual_seed(1)
    net = Layers(make, nn.Linear(CHANNELS * SIZE * SIZE, 5))
    folded = Layers(lambda m, x: flat(x).flatten(1), nn.Linear(CHANNELS * SIZE * SIZE, 5)).double()
    with torch.no_grad():
        scale = net.q.expand(-1, SIZE, SIZE).flatten()
        folded.weights.weight.copy_(net.weights.weight.double() * scale)
        folded.weights.bias.copy_(net.weights.bias)
    x = (torch.rand(STEPS, BATCH, CHANNELS, SIZE, SIZE) < 0.3).float()
    torch.testing.assert_close(net(x).double(), folded(x.double()), rtol=1e-5, atol=1e-6)
    reports = [get_model_syops(m, x.to(d), batch_dim=1, input_signal="binary")
               for m, d in ((net, torch.float32), (folded, torch.float64))]  # fmt: skip
    scaled, plain = ([r.ac for r in report.layers if r.kind == "linear"] for report in reports)
    assert scaled == plain
    assert scaled[0] > 0


def test_the_contraction_of_two_activations_takes_up_nothing():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(torch.tensor([0.3, -1.1, 0.7, 1.9]))

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.p) @ (x * self.p).transpose(-2, -1)

    (found,) = check_full_spike(Attention(), (2, 5, 4), allow=(), input_signal="binary").rows
    assert found.verdict == "analog"


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (lambda m, x: flat(x * (m.a > 0)), "{0,1}"),
        (lambda m, x: flat(x * (m.a > 0).float()), "{0,1}"),
        (lambda m, x: flat(x) * (m.q > 0), "{0,1}"),
        (lambda m, x: flat(x) * (m.row > 1).float(), "{0,1}"),
        (lambda m, x: flat(x) * m.p.view(-1, 1, 1).sign(), "{-1,0,1}"),
        (lambda m, x: flat(x) + (m.q > 0).float(), "{0,1,2}"),
        (lambda m, x: flat(x) * (m.q > 0) - flat(x) * (m.q > 0), "{0}"),
        (lambda m, x: flat(x) * (m.q > 0) - flat(x) * (m.q > 1), "{-1,0,1}"),
    ],
)
def test_spikes_under_a_learned_mask_are_spikes(make, values):
    assert row(Layers(make, conv())).values == values


@pytest.mark.parametrize(
    "make",
    [
        lambda m, x: x * m.a * 3 / 3 - x * m.a,
        lambda m, x: x * m.a * m.b * m.p[0] - x * m.b * m.p[0] * m.a,
        lambda m, x: x / m.a * 3 - x * 3 / m.a,
        lambda m, x: x * m.a + x * m.a + x * m.a + x * m.a + x * m.a - x * m.a * 5,
        lambda m, x: x / 3 * m.a - x * m.a / 3,
    ],
)
def test_what_is_rounded_differently_is_not_taken_for_equal(make):
    assert row(Layers(lambda m, x: flat(make(m, x)), conv())).verdict != "spike"


def test_a_mask_or_factor_does_not_outlive_its_values():
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.fc = nn.Parameter(torch.tensor(2.0)), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            factor = self.a.exp()
            view = factor.view(1)
            first = x * view
            factor.add_(1)
            return self.fc(x * view - first)

    (found,) = check_full_spike(Written(), (3, 4), allow=(), input_signal="binary").rows
    assert found.verdict == "analog"


# Random ways from spikes to weights


MOVES: dict[str, Callable[[Layers, Tensor, int], Tensor]] = {
    "times q": lambda m, x, k: x * m.q,
    "times p": lambda m, x, k: x * m.p,
    "times row": lambda m, x, k: x * m.row,
    "times step": lambda m, x, k: x * m.step,
    "over q": lambda m, x, k: x / m.q,
    "times a": lambda m, x, k: x * m.a,
    "times number": lambda m, x, k: x * (k - 1),
    "times exp q": lambda m, x, k: x * m.q.exp(),
    "times flipped": lambda m, x, k: x * m.p.flip(0).view(-1, 1, 1),
    "times outer": lambda m, x, k: x * (m.q * m.p),
    "times turned": lambda m, x, k: x * (m.q * m.p).transpose(0, -1),
    "masked": lambda m, x, k: x * (m.q > 0),
    "flip": lambda m, x, k: x.flip(k % x.dim()),
    "roll": lambda m, x, k: x.roll(1, k % x.dim()),
    "exchange": lambda m, x, k: x.transpose(k % x.dim(), -1),
    "permute": lambda m, x, k: x.permute(*[(d + k) % x.dim() for d in range(x.dim())]),
    "merge": lambda m, x, k: x.flatten(k % x.dim(), min(k % x.dim() + 1, x.dim() - 1)),
    "split": lambda m, x, k: x.unflatten(k % x.dim(), (-1, 2)),
    "unsqueeze": lambda m, x, k: x.unsqueeze(k % x.dim()),
    "reshape": lambda m, x, k: x.reshape(-1, *x.shape[1:][::-1]),
    "select": lambda m, x, k: x.select(k % x.dim(), 0),
    "cut": lambda m, x, k: x.narrow(k % x.dim(), 0, 2),
    "every other": lambda m, x, k: x[..., ::2],
    "cat": lambda m, x, k: torch.cat([x, x], k % x.dim()),
    "cat of two": lambda m, x, k: torch.cat([x, x * m.q], k % x.dim()),
    "stack": lambda m, x, k: torch.stack([x, x], k % x.dim()),
    "pad": lambda m, x, k: F.pad(x, (1, -1) if k % 2 else (1, 1)),
    "pad one": lambda m, x, k: F.pad(x, (1, 1), value=1),
    "expand": lambda m, x, k: x[None].expand(2, *x.shape),
    "repeat": lambda m, x, k: x.repeat(*[1 + (d == k) for d in range(x.dim())]),
    "max pool": lambda m, x, k: F.max_pool2d(x, 2, 1),
    "enlarge": lambda m, x, k: F.interpolate(x, scale_factor=2),
    "add": lambda m, x, k: x + x.flip(0),
    "less": lambda m, x, k: x - x.roll(1, k % x.dim()),
    "twice": lambda m, x, k: x * m.p + x * m.p,
    "shuffle": lambda m, x, k: F.pixel_shuffle(x, 2),
    "written": lambda m, x, k: torch.zeros_like(x).copy_(x),
    "part written": lambda m, x, k: torch.zeros_like(x).slice_scatter(x[:1], 0, 0, 1),
    "largest": lambda m, x, k: x.amax(k % x.dim(), keepdim=True),
    "sorted": lambda m, x, k: x.sort(k % x.dim()).values,
    "relu": lambda m, x, k: F.relu(x),
    "clone": lambda m, x, k: x.clone(),
    "squeeze in place": lambda m, x, k: x.clone().unsqueeze_(k % x.dim()),
}  # fmt: skip


@examples(200)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.integers(0, 4)), min_size=1, max_size=7),
    st.booleans(),
)
def test_what_is_called_scaled_has_one_magnitude_for_each_input_channel(steps, is_linear):
    def make(m: Layers, x: Tensor) -> Tensor:
        for name, number in steps:
            x = MOVES[name](m, x, number)
        return x

    try:
        out = Layers(make, nn.Identity())(torch.zeros(STEPS, BATCH, CHANNELS, SIZE, SIZE))
    except (RuntimeError, ValueError, IndexError, TypeError, ArithmeticError):
        return
    if not 0 < out.numel() < 20_000 or (not is_linear and out.dim() != 4) or out.dim() < 2:
        return
    width = out.shape[-1 if is_linear else 1]
    net = Layers(make, nn.Linear(width, 1) if is_linear else nn.Conv2d(width, 1, 1))
    if row(net).verdict == "spike":
        assert folds(arriving(net)), steps
