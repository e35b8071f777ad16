"""The trained networks in the package, and the command that shows them."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from syops import check_full_spike, create_model, get_model_syops
from syops.cli import cli
from syops.dst import digits
from syops.models import demo, detach_aap
from syops.models.demo.measure import measure

pytestmark = pytest.mark.slow  # test_all_networks counts each kind of them


@pytest.fixture(scope="module")
def rows():
    return {row.name: row for row in demo.rows()}


def trained(name):
    return create_model(name, weights=demo.weights(name)).eval()


def test_the_digits_are_those_that_no_network_was_trained_on():
    _, (images, labels) = digits()
    shipped, answers = demo.digits()
    assert torch.equal(shipped, images)
    assert torch.equal(answers, labels)


@pytest.mark.parametrize("name", demo.NETWORKS)
def test_the_accuracy_is_that_of_one_digit_at_a_time(rows, name):
    images, labels = demo.digits()
    model, right = trained(name), 0
    images, labels = images[:10], labels[:10]
    for image, label in zip(images, labels, strict=True):
        with torch.no_grad():
            answer = model(image[None])
        logits = answer.accumulated if name == "dsnn_digits" else answer
        right += int(logits.argmax() == label)
    assert right / 10 == measure(name, model, [(images, labels)]).accuracy
    assert 0.95 < rows[name].accuracy <= 1


def test_macs_and_ec_by_hand(rows):
    """By hand: 8 blocks of 16 and then 32 channels, 8x8 and then 4x4 pixels, T = 4."""
    stem, classifier = 8 * 8 * 16 * 9, 32 * 10
    narrow, wide = 8 * 8 * 16 * 16 * 9, 4 * 4 * 32 * 32 * 9
    first_wide = 4 * 4 * 32 * 16 * (9 + 1)  # its first convolution and its shortcut
    convs = 4 * (8 * narrow + first_wide + 7 * wide)
    aap = 4 * (4 * 4 * 16 * 9 + 4 * 4 * 32 * 16) + classifier
    macs = {"fsnn_digits": stem + classifier, "dsnn_digits": stem + classifier + aap}
    for name, mac in macs.items():
        assert rows[name].mac == mac
        assert rows[name].ec_mj == pytest.approx((4.6e-9 * mac, 4.6e-9 * mac + 0.9e-9 * convs))
    # With ADD, the first convolution of each block but the first, and the shortcut get sums.
    sums = 4 * (3 * narrow + first_wide + 3 * wide)
    assert rows["sew_digits"].mac == stem + classifier + sums
    assert all(row.time_steps == 4 for row in rows.values())
    ann = 4.6e-9 * (stem + classifier + convs / 4)  # the same network, once
    assert rows["fsnn_digits"].energy_ratio == pytest.approx(rows["fsnn_digits"].dc_mj / ann)


def test_what_the_paper_claims_of_the_energy(rows):
    fsnn, dsnn, sew = (rows[name] for name in demo.NETWORKS)
    assert fsnn.dc_mj < dsnn.dc_mj < sew.dc_mj
    assert fsnn.ac == dsnn.ac  # the same spikes
    for row in rows.values():
        assert row.dc_mj == pytest.approx(0.9e-9 * row.ac + 4.6e-9 * row.mac)
        assert row.ec_mj[0] < row.dc_mj < row.ec_mj[1]


@pytest.mark.parametrize("name", ["fsnn_digits", "sew_digits"])
def test_acs_match_the_spikes(rows, name):
    """Independent: the spikes that reach each convolution, times the synapses of one; where other
    values than 0 and 1 do, every synapse."""
    model, images = trained(name), demo.digits()[0]
    acs, macs = [], []

    def look(part, args, out):
        synapses = out.numel() * part.in_channels * part.kernel_size[0] * part.kernel_size[1]
        if set(args[0].unique().tolist()) <= {0, 1}:
            acs.append(synapses * args[0].count_nonzero().item() / args[0].numel())
        else:
            macs.append(synapses)

    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_hook(look)
    with torch.no_grad():
        model(images)
    assert rows[name].ac == pytest.approx(sum(acs) / 450)
    assert rows[name].mac == sum(macs) / 450 + 32 * 10  # the classifier, once


def test_the_fsnn_is_the_dsnn_without_its_aap():
    shipped = load_file(demo.weights("fsnn_digits"))
    detached = detach_aap(trained("dsnn_digits"))
    state = detached.state_dict()
    assert shipped.keys() == state.keys()
    assert all(torch.equal(shipped[key], state[key]) for key in state)
    images = demo.digits()[0][:50]
    with torch.no_grad():
        assert torch.equal(trained("dsnn_digits")(images).spike, trained("fsnn_digits")(images))


def test_only_the_fsnn_is_full_spike():
    images = demo.digits()[0][:2]
    found = {name: check_full_spike(trained(name), images).full_spike for name in demo.NETWORKS}
    assert found == {"fsnn_digits": True, "dsnn_digits": False, "sew_digits": False}


def test_events_bring_their_own_time():
    frames = torch.rand(5, 6, 2, 8, 8).round()
    model = create_model("fsnn_digits", blocks=1, channels=2, in_channels=2)
    row = measure("x", model, [(frames, torch.zeros(6).long())], events=True)
    assert row.time_steps == 5
    assert row.ac == get_model_syops(model, frames, batch_dim=1, time_steps=5).ac


def test_the_command_prints_the_table(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)  # the demo needs only what syops needs
    some = [part[:40] for part in demo.digits()]
    monkeypatch.setattr(demo, "digits", lambda: some)
    told = CliRunner().invoke(cli, ["demo", "--format", "json"])
    assert told.exit_code == 0
    found = json.loads(told.stdout)
    keys = ["name", "accuracy", "time_steps", "ec_mj", "ac", "mac", "dc_mj", "energy_ratio"]
    assert [list(row) for row in found] == [keys] * 3
    expected = [measure(name, trained(name), [some])._asdict() for name in demo.NETWORKS]
    assert found == json.loads(json.dumps(expected))
    monkeypatch.setattr(demo, "rows", lambda data: rows.values())
    table = CliRunner().invoke(cli, ["demo"]).stdout
    assert "DC (µJ)" in table.splitlines()[0]
    for row in rows.values():
        (line,) = (line for line in table.splitlines() if line.startswith(row.name))
        assert f"{row.accuracy:.2%}" in line
        assert float(line.split()[-1]) == pytest.approx(1e3 * row.dc_mj, rel=5e-3)


def test_shipped_files_are_small_and_described(rows):
    sizes = [demo.weights(name).stat().st_size for name in demo.NETWORKS]
    assert sum(sizes) < 3_000_000
    card = (demo.FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    for row in rows.values():
        assert f"| `{row.name}` | {row.accuracy:.1%} |" in card
