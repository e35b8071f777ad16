"""Every operator of torch is counted, free for a stated reason, or named."""

from importlib.util import module_from_spec, spec_from_file_location
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from syops import get_model_syops
from syops._torch import operators_of
from syops.errors import SyopsValueError
from syops.ops import find
from syops.ops.registry import HOMES, RULES, HasCost, Named, is_composite, state
from syops.ops.rule import Call, Free, canonical
from syops.ops.values import ANALOG, Atoms
from tests import ROOT

ATEN = operators_of("aten")
TOY = torch.library.Library("toy_operators", "DEF")
TOY.define("smooth(Tensor x, Tensor w) -> Tensor")
TOY.impl("smooth", lambda x, w: x @ w, "CompositeExplicitAutograd")
TOY.define("function(Tensor x) -> Tensor", tags=(torch.Tag.pointwise,))
TOY.impl("function", torch.erfc, "CompositeExplicitAutograd")
TOY.define("ask(Tensor x) -> bool")
TOY.define("window(Tensor(a) x) -> Tensor(a)")
TOY.define("scale_(Tensor(a!) x) -> Tensor(a!)")
TOY.define("pack(Tensor x) -> Any")
TOY.define("table(int n) -> Tensor")
TOY.define("parts(Tensor x, Tensor w) -> Tensor")
TOY.impl("parts", lambda x, w: x @ w, "CompositeImplicitAutograd")
TOY.define("slice(Tensor x, Tensor w) -> Tensor")
TOY.impl("slice", lambda x, w: x @ w, "CompositeExplicitAutograd")
TOY_OPS = torch.ops.toy_operators


class Net(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run, self.weight = run, nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        return self.run(x, self.weight)


def counted(run, x, **how):
    return get_model_syops(Net(run), x, **how)


def work(report):
    return {(row.kind, row.operator): (row.ac, row.mac) for row in report.rows}


def test_every_operator_of_torch_is_in_one_state():
    assert len(ATEN) > 3000
    for func in ATEN:
        found = state(func)
        if isinstance(found, HasCost):
            assert found.what, func
        elif isinstance(found, Free):
            assert found.reason, func
        else:
            assert found == Named(), func
            assert find(func) is None, func


@pytest.mark.skipif(torch.__version__ < "2.13", reason="some operators are newer")
def test_rules_are_for_operators_that_exist():
    operators = [*ATEN, *operators_of("prims"), *operators_of("quantized")]
    known = {canonical(func) for func in operators if not is_composite(func)}
    on_other_devices = {"_fused_rms_norm"}  # one kernel there, and made of others on the CPU
    names = {key.partition(".")[0] for key in RULES}  # what follows is one overload of several
    assert not names - known - on_other_devices


def test_rules_stand_in_one_place_each():
    for one, another in combinations(HOMES, 2):
        assert not one.RULES.keys() & another.RULES.keys()


def test_operators_that_only_call_others_are_free_and_their_parts_are_seen():
    for func in ATEN:
        if state(func) == Free("made of other operators, which are counted"):
            assert func._can_decompose(), func
    report = counted(TOY_OPS.parts, torch.ones(4, 8), strict=True)
    assert [row.operator for row in report.rows] == ["linear"]


def test_new_operator_that_computes_is_named():
    assert state(TOY_OPS.smooth.default) == Named()
    assert state(TOY_OPS.scale_.default) == Named()
    assert state(TOY_OPS.pack.default) == Named()
    report = counted(TOY_OPS.smooth, torch.randn(4, 8))
    assert report.unaccounted == {"toy_operators::smooth in the model": 1}
    with pytest.raises(SyopsValueError, match="toy_operators::smooth"):
        counted(TOY_OPS.smooth, torch.randn(4, 8), strict=True)


def test_operator_is_not_taken_for_one_of_torch_with_its_name():
    assert state(TOY_OPS.slice.default) == Named()
    report = counted(TOY_OPS.slice, torch.randn(4, 8))
    assert report.unaccounted == {"toy_operators::slice in the model": 1}


def test_new_pointwise_operator_is_one_operation_per_element():
    assert isinstance(state(TOY_OPS.function.default), HasCost)
    report = counted(lambda x, w: TOY_OPS.function(x), torch.randn(4, 8), strict=True)
    assert work(report) == {("activation", "toy_operators::function"): (0, 32)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("ask", "makes no tensor"), ("window", "a view"), ("table", "takes no tensor")],
)
def test_new_operator_that_cannot_compute_is_free(name, reason):
    assert state(getattr(TOY_OPS, name).default) == Free(reason)


INDEX = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("run", "kind", "operations"),
    [
        (lambda x, w: torch.zeros(3, 8).index_add(0, INDEX, x), "pool", (32, 0)),
        (lambda x, w: torch.zeros(3, 8).scatter_add(0, INDEX[:, None].expand(4, 8), x), "pool",
         (32, 0)),
        (lambda x, w: torch.zeros(3, 8).scatter_add(0, INDEX[:, None], x), "pool", (4, 0)),
        (lambda x, w: torch.zeros(4, 8).scatter_reduce(1, INDEX[:, None], x, "prod"), "pool",
         (0, 4)),
        (lambda x, w: torch.zeros(3, 8).scatter(0, INDEX[:, None], x, reduce="add"), "pool",
         (4, 0)),
        (lambda x, w: torch.zeros(3, 8).index_put((INDEX,), x, accumulate=True), "pool", (32, 0)),
        (lambda x, w: torch.zeros(3, 8).index_put((INDEX,), x[:1], accumulate=True), "pool",
         (32, 0)),
        (lambda x, w: torch.ops.aten.index_put(x, [None, INDEX], x[:, :4], True),
         "pool", (16, 0)),
        (lambda x, w: torch.zeros(3, 8).index_reduce(0, INDEX, x, "prod"), "pool", (0, 32)),
        (lambda x, w: torch.segment_reduce(x, "sum", lengths=torch.tensor([1, 3])), "pool",
         (32, 0)),
        (lambda x, w: x.var(1), "pool", (0, 32)),
        (lambda x, w: x.std(), "pool", (0, 32)),
        (lambda x, w: x.norm(dim=1), "pool", (0, 32)),
        (lambda x, w: x.prod(1), "pool", (0, 32)),
        (lambda x, w: x.cumprod(1), "pool", (0, 32)),
        (lambda x, w: x.cumsum(1), "pool", (32, 0)),
        (lambda x, w: x.trace(), "pool", (4, 0)),
        (lambda x, w: x.logsumexp(1), "activation", (0, 32)),
        (lambda x, w: x.logcumsumexp(1), "activation", (0, 32)),
        (lambda x, w: F.logsigmoid(x), "activation", (0, 32)),
        (lambda x, w: torch.erfc(x), "activation", (0, 32)),
        (lambda x, w: torch.lgamma(x), "activation", (0, 32)),
        (lambda x, w: torch.polygamma(1, x), "activation", (0, 32)),
        (lambda x, w: torch.acosh(x), "activation", (0, 32)),
        (lambda x, w: torch.atan2(x, x + 1), "elementwise", (0, 32)),
        (lambda x, w: torch.xlogy(x, x + 1), "elementwise", (0, 32)),
        (lambda x, w: F.glu(x), "activation", (0, 16)),
        (lambda x, w: F.mse_loss(x, x.flip(0)), "elementwise", (0, 32)),
    ],
)  # fmt: skip
def test_reductions_and_functions_are_tallies_outside_the_totals(run, kind, operations):
    report = counted(run, torch.rand(4, 8) + 1.5, strict=True)
    assert operations in [w for (k, _), w in work(report).items() if k == kind]
    assert (report.ac, report.mac) == (0, 0)


@pytest.mark.parametrize(
    "run",
    [
        lambda x, w: x.amax(1),
        lambda x, w: x.sort(1).values,
        lambda x, w: torch.maximum(x, x.flip(0)),
        lambda x, w: x.clamp(0, 1).round().neg(),
        lambda x, w: torch.zeros(3, 8).index_put((INDEX,), x),
        lambda x, w: torch.zeros(3, 8).index_reduce(0, INDEX, x, "amax"),
        lambda x, w: F.embedding(x.int(), w),
    ],
)
def test_what_compares_moves_and_rounds_is_free(run):
    report = counted(run, torch.rand(4, 8), strict=True)
    assert not report.rows


@pytest.mark.parametrize(("name", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_fused_cells_do_what_their_parts_do(name, gates):
    """On a CPU the cells are done by their parts."""
    batch, units = 2, 3
    cell = getattr(nn, f"{name}Cell")(4, units)
    parts = get_model_syops(cell, torch.randn(batch, 4), strict=True).rows
    x = torch.empty(batch, gates * units)
    call = Call(None, (x,), {}, x, [x], {id(x): ANALOG}, Atoms(), lambda tensor: "")
    fused = find(getattr(torch.ops.aten, f"_thnn_fused_{name.lower()}_cell").default)
    for cost in fused.cost(call):
        rows = [row for row in parts if row.kind == cost.kind]
        assert (cost.ac, cost.mac) == (sum(r.ac for r in rows), sum(r.mac for r in rows)), cost


def test_page_of_operators_is_what_this_torch_has():
    spec = spec_from_file_location("operators", ROOT / "benchmarks" / "operators.py")
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    written = script.PAGE.read_text(encoding="utf-8")
    if f"torch {script.version()} has " not in written:
        pytest.skip(f"the page is not of torch {script.version()}")
    assert written == script.page(), "run: python benchmarks/operators.py"


def test_composite_operators_are_counted_by_their_parts_in_inference_mode():
    def run(x, w):
        x = F.max_pool1d((x @ w).square()[None], 2).clip(0, 3)[0].tile(2)
        return F.prelu(x.positive().subtract(1), w[:1, 0]).chunk(2)[0].softmax(-1).multiply(2)

    x = torch.randn(4, 8)
    expected = counted(run, x, strict=True)

    @torch.inference_mode()
    def whole(x, w):
        return run(x, w)

    found = counted(whole, x, strict=True)
    assert [(r.kind, r.operator, r.dense) for r in found.rows] == [
        (r.kind, r.operator, r.dense) for r in expected.rows
    ]
