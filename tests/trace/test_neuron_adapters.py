"""A library is added by one file: the one in docs/neurons.md counts networks of a toy library."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import syops

SOURCE = Path(syops.__file__).parent
PAGE = SOURCE.parent / "docs" / "neurons.md"
PULSE = '''
import torch
from torch import nn


class Neuron(nn.Module):
    """Fires where the potential reaches 1, and starts again from 0."""

    def __init__(self, whole_sequence=False):
        super().__init__()
        self.potential, self.whole_sequence = None, whole_sequence

    def step(self, x):
        potential = x if self.potential is None else self.potential + x
        spikes = (potential >= 1).to(x.dtype)
        self.potential = potential * (1 - spikes)
        return spikes

    def forward(self, x):
        return torch.stack(list(map(self.step, x))) if self.whole_sequence else self.step(x)

    def reset(self):
        raise AssertionError("the adapter resets")


class IF(Neuron):
    pass


class RecurrentIF(Neuron):
    def __init__(self, size):
        super().__init__()
        self.back = nn.Linear(size, size, bias=False)

    def step(self, x):
        return super().step(x if self.potential is None else x + self.back(self.potential))
'''
COUNT = '''
import json

import torch
from torch import nn

import pulse
from syops import check_full_spike, get_model_bounds, get_model_syops
from syops.trace.neurons import LIBRARIES


class InTime(nn.Module):
    """A neuron between two layers, called with [T, N, 6] at once or step by step."""

    def __init__(self, sn):
        super().__init__()
        self.fc1, self.sn, self.fc2 = nn.Linear(4, 6), sn, nn.Linear(6, 3, bias=False)

    def forward(self, x):
        if self.sn.whole_sequence:
            return self.fc2(self.sn(self.fc1(x)))
        return torch.stack([self.fc2(self.sn(self.fc1(step))) for step in x])


def rows(report):
    return {layer.name: [layer.kind, layer.dense, layer.ac, layer.mac] for layer in report.layers}


def spikes_of(net, x):
    sent = []
    hook = net.fc2.register_forward_pre_hook(lambda module, args: sent.append(args[0]))
    net.sn.potential = None
    net(x)
    hook.remove()
    return int(sum(spikes.sum() for spikes in sent))


def told(sn):
    net, x = InTime(sn), 2 * torch.rand(5, 2, 4)
    spikes = spikes_of(net, x)
    state = sn.potential = torch.rand(2, 6)
    first, second = (get_model_syops(net, x, batch_dim=1) for _ in range(2))
    bounds = get_model_bounds(net, x, batch_dim=1)
    audit = check_full_spike(net, x, batch_dim=1)
    (updates,) = first.updates or (None,)
    return {
        "spikes": spikes,
        "rows": rows(first),
        "again": rows(second),
        "bounds": rows(bounds),
        "values": {row.layer: row.values for row in audit.rows},
        "updates": updates and [updates.calls, updates.starts, updates.steps, updates.samples],
        "is put back": sn.potential is state,
    }


with torch.no_grad():
    torch.manual_seed(0)
    found = {
        "sequence": told(pulse.IF(whole_sequence=True)),
        "steps": told(pulse.IF()),
        "recurrent": told(pulse.RecurrentIF(6)),
    }
print(json.dumps(found | {"libraries": [type(library).__name__ for library in LIBRARIES]}))
'''


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """What is counted of networks of `pulse` where syops has one file more."""
    folder = tmp_path_factory.mktemp("pulse")
    shutil.copytree(SOURCE, folder / "syops", copy_function=os.symlink)
    (adapter,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (folder / "syops" / "trace" / "neurons" / "pulse.py").write_text(adapter)
    (folder / "pulse.py").write_text(PULSE)
    (folder / "count.py").write_text(COUNT)
    ran = subprocess.run(
        [sys.executable, "count.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.slow
def test_adapter_is_found(counted):
    assert counted["libraries"] == ["Norse", "Pulse", "Sinabs", "SnnTorch", "SpikingJelly"]


@pytest.mark.parametrize("name", ["sequence", "steps"])
def test_rows_of_a_known_neuron(counted, name):
    found = counted[name]
    assert found["spikes"] > 0
    assert found["rows"] == {
        "fc1": ["linear", 5 * 4 * 6, 0, 5 * 4 * 6],
        "sn": ["neuron", 5 * 6, 0, 5 * 6],
        "fc2": ["linear", 5 * 6 * 3, found["spikes"] * 3 / 2, 0],
    }
    assert found["bounds"] == {
        layer: [kind, dense, None, mac] for layer, (kind, dense, _, mac) in found["rows"].items()
    }


def test_rows_of_a_neuron_that_is_watched_from_inside(counted):
    found = counted["recurrent"]
    assert found["rows"]["fc2"] == ["linear", 5 * 6 * 3, found["spikes"] * 3 / 2, 0]
    assert found["rows"]["sn.back"] == ["linear", 4 * 6 * 6, 0, 4 * 6 * 6]
    assert found["rows"]["sn"] == ["neuron", 5 * 6, 0, 5 * 6]
    assert found["rows"].keys() == {"fc1", "sn.back", "sn", "fc2"}


@pytest.mark.parametrize(("name", "calls"), [("sequence", 1), ("steps", 5), ("recurrent", 5)])
def test_time_steps_of_a_call(counted, name, calls):
    starts, steps, samples = 1, 5, 5 * 2
    assert counted[name]["updates"] == [calls, starts, steps, samples]


@pytest.mark.parametrize("name", ["sequence", "steps", "recurrent"])
def test_states_are_reset_and_put_back(counted, name):
    assert counted[name]["again"] == counted[name]["rows"]
    assert counted[name]["is put back"]


@pytest.mark.parametrize("name", ["sequence", "steps", "recurrent"])
def test_what_neurons_send_is_proven(counted, name):
    assert counted[name]["values"]["fc2"] == "{0,1}"
