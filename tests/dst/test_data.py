"""Data sets, event streams and recipes for dual-stream training."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syops.dst import (
    RECIPES,
    Events,
    digit_events,
    digits,
    get_data,
    get_recipe,
    integrate,
    random_temporal_delete,
    saccade_events,
)
from syops.errors import (
    SyopsFileError,
    SyopsImportError,
    SyopsLookupError,
    SyopsTypeError,
    SyopsValueError,
)

# Events


def test_a_moving_edge_sends_events_of_both_polarities():
    image = torch.zeros(12, 12)
    image[4:8, 4:8] = 1
    events = saccade_events(image)
    assert torch.equal(events.t, events.t.sort().values)
    assert set(events.p.tolist()) == {0, 1}
    # Back at the start, every pixel has received as many events up as down, or one less.
    net = torch.zeros(12, 12).index_put_((events.y, events.x), 2.0 * events.p - 1, accumulate=True)
    assert net.abs().max() <= 1
    assert not len(saccade_events(torch.zeros(5, 5)).t)


def test_events_follow_the_model_of_the_pixel():
    """Independent: one pixel at a time, one step at a time."""
    from syops.dst.events import _moved, saccade_path

    image = torch.rand(6, 5, generator=torch.Generator().manual_seed(3))
    seen = (0.1 + _moved(image, saccade_path(10, 2.0)).double()).log().tolist()
    expected = []
    for y in range(6):
        for x in range(5):
            level = seen[0][y][x]
            for t in range(1, 11):
                while abs(seen[t][y][x] - level) >= 0.4:
                    up = seen[t][y][x] > level
                    level += 0.4 if up else -0.4
                    expected.append((t, x, y, int(up)))
    found = saccade_events(image, steps=10)
    assert sorted(expected) == sorted(zip(*(part.tolist() for part in found), strict=True))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.integers(1, 9), st.sampled_from(["number", "time"]), st.integers())
def test_integration_loses_no_event(n, T, by, seed):
    generator = torch.Generator().manual_seed(seed % 2**31)

    def some(high):
        return torch.randint(high, (n,), generator=generator)

    events = Events(some(40).sort().values, some(4), some(3), some(2))
    frames = integrate(events, T, (3, 4), by)
    assert frames.shape == (T, 2, 3, 4)
    whole = torch.zeros(2, 3, 4)
    for x, y, p in zip(events.x, events.y, events.p, strict=True):
        whole[p, y, x] += 1
    assert torch.equal(frames.sum(0), whole)
    if by == "number" and n >= T:
        assert frames.sum((1, 2, 3))[:-1].tolist() == [n // T] * (T - 1)


def test_integration_refuses_events_outside_the_frame():
    events = saccade_events(torch.eye(8))
    for arguments in ((0, (8, 8)), (2, (4, 8)), (2, (8, 4)), (2, (8, 8), "count")):
        with pytest.raises(SyopsValueError):
            integrate(events, *arguments)
    for image in (torch.zeros(2, 3, 4), 2 * torch.ones(3, 3), torch.full((2, 2), torch.nan)):
        with pytest.raises(SyopsValueError, match="image"):
            saccade_events(image)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 16), st.integers(-1, 18))
def test_temporal_delete_keeps_the_order(T, kept):
    frames = torch.arange(T).repeat_interleave(3).reshape(T, 3)
    if not 1 <= kept <= T:
        with pytest.raises(SyopsValueError, match="T_train"):
            random_temporal_delete(frames, kept)
        return
    times = random_temporal_delete(frames, kept)[:, 0].tolist()
    assert len(times) == kept
    assert times == sorted(set(times))


# Data and recipes


def test_the_digits_are_split_evenly():
    (x, y), (x_test, y_test) = digits()
    assert (x.shape, x_test.shape) == ((1347, 1, 8, 8), (450, 1, 8, 8))
    assert 0 == x.min() < x.max() == 1
    assert y_test.bincount().min() >= 43
    both = {row.numpy().tobytes() for row in x} & {row.numpy().tobytes() for row in x_test}
    assert not both
    again = digits()
    assert torch.equal(again[1][0], x_test)


def test_recorded_digits_are_frames_of_equally_many_events(monkeypatch):
    every = digits()
    monkeypatch.setattr("syops.dst.data.digits", lambda: [(x[:200], y[:200]) for x, y in every])
    (x, y), _ = digit_events(4)
    assert x.shape == (200, 4, 2, 16, 16)
    counts = x.sum((2, 3, 4))
    assert torch.equal(counts[:, 0], counts[:, 2])
    assert torch.equal(y, every[0][1][:200])


def test_recipes_are_those_of_table_5():
    table = {name: (r.epochs, r.lr, r.batch_size, r.T) for name, r in RECIPES.items()}
    assert table["imagenet"] == (320, 0.1, 128, 4)
    assert table["dvsgesture"] == (192, 0.005, 16, 16)
    assert table["cifar10dvs"] == (64, 0.01, 16, 16)
    assert table["cifar100"] == (310, 5e-4, 128, 4)
    assert RECIPES["dvsgesture"].T_train == 12
    optimizer = RECIPES["dvsgesture"].make_optimizer(torch.nn.Linear(1, 1))
    schedule = RECIPES["dvsgesture"].make_schedule(optimizer)
    rates = []
    for _ in range(192):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.005] * 64 + [0.0005] * 64 + [0.00005] * 64)


@pytest.mark.parametrize(
    ("name", "T_max"), [("imagenet", 320), ("cifar10dvs", 64), ("cifar100", 310)]
)
def test_cosine_annealing_is_that_of_table_5(name, T_max):
    recipe = RECIPES[name]
    optimizer = recipe.make_optimizer(torch.nn.Linear(1, 1))
    schedule = recipe.make_schedule(optimizer)
    for epoch in range(recipe.epochs):
        expected = recipe.lr * (1 + math.cos(math.pi * epoch / T_max)) / 2
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    "wrong",
    [{"T_train": 17}, {"epochs": 0}, {"lr": 0.0}, {"schedule": "linear"}, {"optimizer": "adam"},
     {"clip": -1.0}, {"batch_size": 0}, {"period": -1}, {"gamma": -0.1}],
)  # fmt: skip
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(SyopsValueError, match=next(iter(wrong))):
        dataclasses.replace(RECIPES["dvsgesture"], **wrong)


@pytest.mark.parametrize(
    "wrong", [{"epochs": "abc"}, {"T": 2.5}, {"lr": "high"}, {"clip": "no"}, {"T_train": 4.0}]
)
def test_recipe_values_must_be_numbers(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(SyopsTypeError, match=f"{name}={value!r}: expected a"):
        dataclasses.replace(RECIPES["dvsgesture"], **wrong)


def test_unknown_names_and_missing_folders(tmp_path):
    with pytest.raises(SyopsLookupError, match="did you mean 'imagenet'"):
        get_recipe("imagnet")
    with pytest.raises(SyopsLookupError, match="digits"):
        get_data("mnist", 4)
    for name in ("imagenet", "dvsgesture", "cifar10dvs", "cifar100"):
        with pytest.raises(SyopsFileError, match="--data"):
            get_data(name, 4)
        with pytest.raises(SyopsFileError, match="does not exist"):
            get_data(name, 4, tmp_path / "none")


def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    for name, needs in (("imagenet", "torchvision"), ("cifar100", "torchvision")):
        with pytest.raises(SyopsImportError, match=f"{needs} cannot be imported"):
            get_data(name, 4, tmp_path)
    monkeypatch.setitem(sys.modules, "spikingjelly.datasets.dvs128_gesture", None)
    with pytest.raises(SyopsImportError, match="torchvision and torchaudio"):
        get_data("dvsgesture", 4, tmp_path)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SyopsImportError, match="scikit-learn"):
        get_data("digits", 4)


LOADERS = """
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

# Their compiled parts fit no torch but their own. Reading data needs none of them.
for name in ("torchvision._meta_registrations", "torchaudio", "torchaudio.transforms"):
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__spec__ = ModuleSpec(name, None)
    sys.modules[name].__path__ = []
from syops.errors import SyopsFileError
from syops.dst import get_data

root, random = Path(sys.argv[1]), np.random.default_rng(0)

def record(path, n):
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y, p = random.integers(0, 128, n), random.integers(0, 128, n), random.integers(0, 2, n)
    np.savez(path, t=np.sort(random.integers(0, 10**6, n)), x=x, y=y, p=p)

for part in ("train", "val"):
    for label in ("n01", "n02"):
        (root / "imagenet" / part / label).mkdir(parents=True)
        image = Image.fromarray(random.integers(0, 256, (300, 260, 3), dtype=np.uint8))
        image.save(root / "imagenet" / part / label / "a.JPEG")
for data in ("dvs", "cifar"):
    for part in ("extract", "download"):
        (root / data / part).mkdir(parents=True)
classes = "airplane automobile bird cat deer dog frog horse ship truck".split()
for label in range(11):
    record(root / "dvs" / "events_np" / "train" / str(label) / "a.npz", 100)
    record(root / "dvs" / "events_np" / "test" / str(label) / "a.npz", 100)
for label in classes:
    for i in range(10):
        record(root / "cifar" / "events_np" / label / f"{i}.npz", 80)
for name, T, folder in (
    ("imagenet", 4, "imagenet"), ("dvsgesture", 16, "dvs"), ("cifar10dvs", 16, "cifar")
):
    train, test = get_data(name, T, root / folder)
    (x, y), labels = train[len(train) - 1], {test[i][1] for i in range(len(test))}
    counts = x.sum((1, 2, 3)).tolist() if T == 16 else ""
    print(name, len(train), len(test), tuple(x.shape), counts, y, len(labels))
for name in ("imagenet", "cifar100", "dvsgesture"):
    empty = root / "empty" / name
    empty.mkdir(parents=True)
    try:
        get_data(name, 4, empty)
    except SyopsFileError as error:
        print(name, str(error).startswith(f"{name} cannot be read from {empty} ("))
"""


@pytest.mark.slow
@pytest.mark.once
def test_the_loaders_read_what_the_libraries_read(tmp_path):
    """Real torchvision and spikingjelly, on files of the layout that they expect."""
    done = subprocess.run(
        [sys.executable, "-c", LOADERS, tmp_path], capture_output=True, text=True, check=False
    )
    found = [line for line in done.stdout.splitlines() if line.split()[0] in RECIPES]
    assert found == [
        "imagenet 2 2 (3, 224, 224)  1 2",
        f"dvsgesture 11 11 (16, 2, 128, 128) {[6.0] * 15 + [10.0]} 10 11",
        f"cifar10dvs 90 10 (16, 2, 128, 128) {[5.0] * 16} 9 10",
        *("imagenet True", "cifar100 True", "dvsgesture True"),
    ], done.stderr
