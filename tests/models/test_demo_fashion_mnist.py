"""``syops demo --data fashion-mnist``: Debian's package, and the trained networks for it."""

from __future__ import annotations

import gzip
import json
import struct

import pytest
import torch

from syops import create_model
from syops.models import demo


def write_idx(path, values):
    head = struct.pack(f">HBB{values.dim()}I", 0, 8, values.dim(), *values.shape)
    path.write_bytes(head + bytes(values.flatten().tolist()))


@pytest.fixture
def clothes(tmp_path, monkeypatch):
    """Six images of noise, where the package would be."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (6, 28, 28), generator=generator)
    labels = torch.arange(6)
    (tmp_path / "fashion-mnist").mkdir()
    for name, values in (("images-idx3", images), ("labels-idx1", labels)):
        plain = tmp_path / "fashion-mnist" / f"t10k-{name}-ubyte.gz"
        write_idx(plain, values)
        plain.write_bytes(gzip.compress(plain.read_bytes()))
    monkeypatch.setattr(demo, "INSTALLED", tmp_path / "fashion-mnist")
    return images[:, None] / 255, labels


def test_answers_and_counts_are_those_of_the_images(clothes, syops):
    """By hand: the spikes that reach each convolution, times the synapses of one."""
    images, labels = clothes
    status, out, _ = syops("demo", "--data", "fashion-mnist", "--format", "json")
    assert status == 0
    fsnn, dsnn = json.loads(out)
    assert [row["name"] for row in (fsnn, dsnn)] == list(demo.FASHION_MNIST_NETWORKS)
    model = create_model("fsnn18_small", weights=demo.weights("fsnn18_small")).eval()
    acs = []

    def look(part, args, out):
        synapses = out.numel() * part.in_channels * part.kernel_size[0] * part.kernel_size[1]
        acs.append(synapses * args[0].count_nonzero().item() / args[0].numel())

    for name, part in model.named_modules():
        if isinstance(part, torch.nn.Conv2d) and name != "conv1":
            part.register_forward_hook(look)
    with torch.no_grad():
        answers = model(images).argmax(1)
    assert fsnn["accuracy"] == int((answers == labels).sum()) / 6
    assert fsnn["ac"] == pytest.approx(sum(acs) / 6)
    assert fsnn["mac"] == 14 * 14 * 8 * 9 + 64 * 10
    assert dsnn["mac"] > fsnn["mac"]


def test_the_package_that_is_not_installed_is_named(syops, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "INSTALLED", tmp_path / "none")
    status, out, err = syops("demo", "--data", "fashion-mnist")
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert "apt-get install dataset-fashion-mnist" in line


def test_a_damaged_package_is_named(clothes, syops):
    (demo.INSTALLED / "t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    status, _, err = syops("demo", "--data", "fashion-mnist")
    assert status == 2
    (line,) = err.splitlines()
    assert "t10k-labels-idx1-ubyte.gz" in line


def test_shipped_weights_are_small_and_described():
    paths = [demo.weights(name) for name in demo.FASHION_MNIST_NETWORKS]
    assert sum(path.stat().st_size for path in paths) <= 2_000_000
    card = (demo.FOLDER / "MODEL_CARD_FASHION_MNIST.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in card for name in demo.FASHION_MNIST_NETWORKS)


@pytest.mark.slow
@pytest.mark.skipif(not demo.INSTALLED.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_the_card_tells_the_accuracy_on_all_test_images():
    card = (demo.FOLDER / "MODEL_CARD_FASHION_MNIST.md").read_text(encoding="utf-8")
    for row in demo.rows("fashion-mnist"):
        (line,) = (line for line in card.splitlines() if line.startswith(f"| `{row.name}`"))
        assert line.endswith(f"| {row.accuracy:.2%} |")
