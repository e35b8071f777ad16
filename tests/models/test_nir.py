"""NIR graphs count like the same networks in sinabs and in norse, and by hand."""

import json
import logging

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from syops import Report, from_nir, get_model_syops
from syops.cli import cli
from syops.errors import SyopsFileError, SyopsTypeError, SyopsValueError

nir = pytest.importorskip("nir")
pytestmark = pytest.mark.filterwarnings("ignore")
T, N = 6, 2


def spikes(*shape, rate=0.4):
    drawn = torch.rand(T, N, *shape, generator=torch.Generator().manual_seed(0))
    return (drawn < rate).float()


def random(*shape, scale=1.0):
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    return (drawn * scale).numpy()


def synaptic(report):
    """What drives each synaptic row, in no order."""
    return sorted(
        (row.operator, row.dense, [(d.evidence.signal, d.spikes, d.events, d.ac) for d in drives])
        for row in report.rows
        if row.kind in ("conv", "linear") and (drives := row.drives)
    )


def convolutional():
    return nir.NIRGraph.from_list(
        nir.Conv2d((8, 8), random(3, 2, 3, 3), 1, 1, 1, 1, random(3)),
        nir.IF(np.ones((3, 8, 8), "f4"), np.full((3, 8, 8), 2.0, "f4")),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Flatten({"input": np.array([3, 4, 4])}, 0, -1),
        nir.Affine(random(5, 48), random(5)),
        nir.IF(np.ones(5, "f4"), np.full(5, 3.0, "f4")),
    )


def recurrent():
    def neurons(n):
        full = lambda value: np.full(n, value, "f4")  # noqa: E731
        return nir.CubaLIF(full(2e-3), full(5e-3), full(1.0), full(0.0), full(0.1), full(1.0))

    nodes = {
        "input": nir.Input(np.array([4])),
        "fc1": nir.Affine(random(6, 4, scale=3), random(6)),
        "lif1.lif": neurons(6),
        "lif1.w_rec": nir.Affine(random(6, 6), random(6)),
        "fc2": nir.Affine(random(3, 6), random(3)),
        "lif2": neurons(3),
        "output": nir.Output(np.array([3])),
    }
    edges = [
        *(("input", "fc1"), ("fc1", "lif1.lif"), ("lif1.lif", "lif1.w_rec")),
        *(("lif1.w_rec", "lif1.lif"), ("lif1.lif", "fc2"), ("fc2", "lif2"), ("lif2", "output")),
    ]
    return nir.NIRGraph(nodes, edges)


class First(nn.Module):
    """The first of what a network of nirtorch's returns."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[0]


class Loop(First):
    def forward(self, x):
        state, out = None, []
        for step in x:
            result, state = self.network(step, state)
            out.append(result)
        return torch.stack(out)


def test_counts_and_results_are_those_of_sinabs():
    sinabs = pytest.importorskip("sinabs.nir")
    graph, x = convolutional(), spikes(2, 8, 8)
    theirs = First(sinabs.from_nir(graph, num_timesteps=T)).eval()
    flat = x.transpose(0, 1).flatten(0, 1)
    ours = from_nir(graph, neurons="sinabs")
    a = get_model_syops(theirs, flat)
    b = get_model_syops(ours, x, batch_dim=1, time_steps=T)
    assert synaptic(a) == synaptic(b)
    assert (a.totals.ac_events, a.totals.mac) == (b.totals.ac_events, b.totals.mac)
    assert b.totals.ac_events > 0
    assert b.totals.mac > 0
    assert b.complete
    for module in theirs.modules():
        if hasattr(module, "reset_states"):
            module.reset_states()
    result = ours(x)
    assert torch.equal(theirs(flat).reshape(N, T, 5).transpose(0, 1), result)
    assert result.any()


def test_counts_and_results_are_those_of_norse():
    norse = pytest.importorskip("norse.torch")
    from norse.torch.functional.reset import reset_subtract

    logging.disable(logging.WARNING)
    graph, x = recurrent(), spikes(4)
    theirs = Loop(norse.from_nir(graph, dt=1e-3, reset_method=reset_subtract))
    logging.disable(logging.NOTSET)
    ours = from_nir(graph, dt=1e-3)
    a = get_model_syops(theirs, x, batch_dim=1, time_steps=T)
    b = get_model_syops(ours, x, batch_dim=1, time_steps=T)
    assert synaptic(a) == synaptic(b)
    assert len(synaptic(b)) == 3
    assert all(drives[0][1] for _, _, drives in synaptic(b))
    assert torch.equal(theirs(x), ours(x))


def test_edge_back_brings_what_was_sent_at_the_step_before():
    one = np.ones(1, "f4")
    nodes = {
        "input": nir.Input(np.array([1])),
        "sum": nir.Threshold(0.5 * one),
        "back": nir.Linear(np.ones((1, 1), "f4")),
        "output": nir.Output(np.array([1])),
    }
    edges = [("input", "sum"), ("sum", "back"), ("back", "sum"), ("sum", "output")]
    network = from_nir(nir.NIRGraph(nodes, edges))
    x = torch.zeros(4, 1, 1)
    x[1] = 1
    assert network(x).flatten().tolist() == [0, 1, 1, 1]
    report = get_model_syops(network, x, batch_dim=1, time_steps=4, input_signal="binary")
    assert report.totals.ac_events == 3


@pytest.mark.parametrize(
    ("node", "x", "expected"),
    [
        (lambda one: nir.IF(one, 1.5 * one), [1, 1, 1, 1], [0, 1, 0, 1]),  # 1 2-.5 1.5 2.5
        (lambda one: nir.I(2 * one), [1, 0, 1], [2, 2, 4]),
        (lambda one: nir.LI(0.2 * one, one, 0.5 * one), [1, 1], [0.75, 1.125]),  # halfway to 1.5
        (lambda one: nir.LIF(0.2 * one, one, 0 * one, 0.6 * one), [1, 1, 1], [0, 1, 0]),
        (lambda one: nir.Scale(3 * one), [1, 2], [3, 6]),
    ],
)
def test_neurons_by_hand(node, x, expected):
    """With dt = tau / 2."""
    graph = nir.NIRGraph.from_list(node(np.ones(1, "f4")))
    found = from_nir(graph, dt=0.1)(torch.tensor(x).float().reshape(-1, 1, 1))
    assert found.flatten().tolist() == pytest.approx(expected)


def test_neurons_with_a_potential_of_reset_are_set_to_it():
    """Halfway to 2 at each step, θ = 1.2: 1, 1.5 (fires), halfway from 0.3: 1.15, 1.575 (fires)."""
    one = np.ones(1, "f4")
    node = nir.LIF(0.2 * one, 2 * one, 0 * one, v_threshold=1.2 * one)
    node.v_reset = 0.3 * one  # whatever version is installed
    graph = nir.NIRGraph.from_list(node)
    network = from_nir(graph, dt=0.1)
    assert network(torch.ones(5, 1, 1)).flatten().tolist() == [0, 1, 0, 1, 0]
    report = get_model_syops(network, torch.ones(5, 1, 1), batch_dim=1, time_steps=5)
    assert report.complete


def test_old_files_have_their_threshold_subtracted(tmp_path):
    """A file without v_reset says so; NIR 1.0.6 and later reads 0 from it."""
    h5py = pytest.importorskip("h5py")
    one = np.ones(1, "f4")
    path = tmp_path / "old.nir"
    nir.write(path, nir.NIRGraph.from_list(nir.IF(one, v_threshold=1.75 * one)))
    with h5py.File(path, "a") as file:
        for node in file["node/nodes"].values():
            node.pop("v_reset", None)
    found = from_nir(path)(torch.ones(9, 1, 1)).flatten().tolist()
    # v after each second step: .25, .5, .75, 1; set to 0 it would not fire at the last step
    assert found == [0, 1, 0, 1, 0, 1, 0, 1, 1]


def test_what_cannot_be_run_is_named(tmp_path):
    one = np.ones(1, "f4")
    with pytest.raises(SyopsValueError, match=r"node '.*' is a Delay, which is not known"):
        from_nir(nir.NIRGraph.from_list(nir.Delay(one)))
    with pytest.raises(SyopsTypeError, match="expected a nir.NIRGraph"):
        from_nir(nn.Linear(1, 1))
    with pytest.raises(SyopsValueError, match="dt must be a positive"):
        from_nir(convolutional(), dt=0)
    with pytest.raises(SyopsValueError, match="neurons must be one of"):
        from_nir(convolutional(), neurons="norse")
    path = tmp_path / "bad.nir"
    path.write_text("no graph")
    for name, said in (
        (path, "cannot be read as an NIR graph"),
        (tmp_path / "none.nir", "cannot read .*none.nir: no such file"),
    ):
        with pytest.raises(SyopsFileError, match=said):
            from_nir(name)
        result = CliRunner().invoke(cli, ["run", str(name)])
        assert isinstance(result.exception, SyopsFileError)


def test_command(tmp_path):
    path = tmp_path / "net.nir"
    nir.write(path, recurrent())
    arguments = ["run", str(path), "--set", "dt=0.001", "--time-steps", "8"]
    result = CliRunner().invoke(cli, [*arguments, "--format", "csv"], obj=[])
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ("fc1", "lif1_w_rec", "fc2"))


def test_commands_that_take_a_network_take_a_graph(tmp_path):
    path = tmp_path / "net.nir"
    nir.write(
        path, nir.NIRGraph.from_list(nir.Linear(random(3, 4)), nir.IF(*np.ones((2, 3), "f4")))
    )

    def run(*arguments):
        return CliRunner().invoke(cli, [arguments[0], str(path), *arguments[1:]], obj=[])

    sizes = ("--input-shape", "5,2,4")
    fit = run("fit", "--chip", "loihi", "--weight-bits", "8", *sizes, "--format", "json")
    assert (fit.exit_code, json.loads(fit.stdout)["rows"][0]["weights"]) == (0, 12)
    bounds = run("bounds", *sizes, "--format", "json")
    assert json.loads(bounds.stdout)["samples"] == 2
    assert Report.from_json(bounds.stdout).dense_ac == 5 * 12
    menu = CliRunner().invoke(
        cli, ["energy", "--compare", str(path), "--time-steps", "5", "--format", "json"], obj=[]
    )
    assert json.loads(menu.stdout)["spread"] > 1
    for name in ("bounds", "audit"):
        assert "--input-shape 20,1,2,34,34" in run(name).output
