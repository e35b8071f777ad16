"""Data sets: arrays, IDX files, folders of images and of event clips, in batches."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from syops import get_model_bounds, get_model_syops
from syops.dst.clips import Clips
from syops.dst.events import Events, integrate
from syops.errors import SyopsError, SyopsFileError, SyopsValueError
from syops.run.data.arrays import Arrays, read_labels, read_parts
from syops.run.data.idx import IdxImages
from syops.run.data.images import ImageFolder, imagenet, plain
from syops.run.data.loader import Loader

X = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
Y = np.arange(7) % 3


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    np.savez(tmp_path / "named.npz", x=X, y=Y)
    np.savez(tmp_path / "pair.npz", X, Y)
    np.savez(tmp_path / "fortran.npz", x=np.asfortranarray(X), labels=Y)
    np.savez_compressed(tmp_path / "packed.npz", x=X, labels=Y)
    torch.save({"x": torch.tensor(X), "y": torch.tensor(Y)}, tmp_path / "named.pt")
    torch.save((torch.tensor(X), torch.tensor(Y)), tmp_path / "pair.pt")
    return tmp_path


def test_every_file_of_arrays_gives_the_same_samples(files):
    names = ("named.npz", "pair.npz", "fortran.npz", "packed.npz", "named.pt", "pair.pt")
    for name in names:
        data = Arrays(files / name, 0, torch.float32)
        assert len(data) == 7, name
        for i in range(7):
            sample, label = data[i]
            assert torch.equal(sample, torch.tensor(X[i])), name
            assert label == Y[i], name
    alone = Arrays(files / "x.npy", 0, torch.float64, read_labels(files / "y.npy"))
    assert (alone[3][0].dtype, alone[3][1]) == (torch.float64, Y[3])
    assert Arrays(files / "x.npy", 0, torch.float32)[0][1] is None


def test_arrays_are_mapped_not_read(files):
    assert isinstance(read_parts(files / "x.npy")["the array"], np.memmap)
    for name in ("named.npz", "fortran.npz"):
        assert isinstance(read_parts(files / name)["x"], np.memmap)


def test_samples_along_another_dimension(files):
    loader = Loader(Arrays(files / "x.npy", 1, torch.float32), batch_size=2, batch_dim=1)
    ((batch, labels),) = loader
    assert torch.equal(batch, torch.tensor(X))
    assert labels is None


def test_several_arrays_are_arguments_by_name(files):
    np.savez(files / "two.npz", a=X, b=X + 1, y=Y)
    ((batch, labels),) = Loader(Arrays(files / "two.npz", 0, torch.float32), batch_size=7)
    assert torch.equal(batch["b"], torch.tensor(X + 1))
    assert labels.tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"x": X, "y": Y[:3]}, r"has 7 samples, and labels of shape \[3\]"),
        ({"x": X, "y": Y + 0.5}, "labels of float64: expected integers"),
        ({"a": X, "b": X[:2]}, "a 7, b 2"),
        ({"x": X[:0]}, "equally many samples"),
        ({"x": np.array(1.0)}, "no dimension 0"),
        ({"x": np.array(["a"])}, "not an array of numbers"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, text):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(SyopsError, match=text):
        Arrays(tmp_path / "x.npz", 0, torch.float32)


@pytest.mark.parametrize("name", ["x.npy", "named.npz", "named.pt"])
def test_torn_files_of_arrays_are_named(files, name):
    content = (files / name).read_bytes()
    (files / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(SyopsFileError, match=name):
        Arrays(files / name, 0, torch.float32)


def idx_bytes(array):
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("packed", [True, False])
def test_idx_images_with_labels_beside(tmp_path, packed):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 6))
    for kind, array in (("images-idx3", images), ("labels-idx1", Y[:5])):
        content, path = idx_bytes(array), tmp_path / f"t10k-{kind}-ubyte{'.gz' * packed}"
        path.write_bytes(gzip.compress(content) if packed else content)
    path = tmp_path / f"t10k-images-idx3-ubyte{'.gz' * packed}"
    data = IdxImages(path)
    sample, label = data[3]
    assert torch.equal(sample, torch.tensor(images[3:4] / np.float32(255), dtype=torch.float32))
    assert (len(data), label) == (5, Y[3])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SyopsFileError, match="t10k-images"):
        IdxImages(path)


def test_idx_labels_of_another_length(tmp_path):
    (tmp_path / "a-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((2, 3, 3))))
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(3)))
    with pytest.raises(SyopsValueError, match=r"2 samples, and labels of shape \[3\]"):
        IdxImages(tmp_path / "a-images-idx3-ubyte")


def draw(path, size, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_image_folders_have_classes_in_the_order_of_names(tmp_path):
    for name in ("dog/b.png", "cat/z.png", "cat/a.png", "dog/deep/a.png"):
        draw(tmp_path / name, (4, 5))
    data = ImageFolder(tmp_path, lambda image: plain(image, 3))
    paths = [path.relative_to(tmp_path).as_posix() for path in data.paths]
    assert paths == ["cat/a.png", "cat/z.png", "dog/b.png", "dog/deep/a.png"]
    assert [label for _, label in data] == [0, 0, 1, 1]
    pixels = draw(tmp_path / "flat/one.png", (4, 5))
    flat = ImageFolder(tmp_path / "flat", lambda image: plain(image, 3))
    assert torch.equal(flat[0][0], torch.tensor(pixels / np.float32(255)).permute(2, 0, 1))
    assert flat[0][1] is None
    draw(tmp_path / "stray.png", (4, 5))
    with pytest.raises(SyopsValueError, match=r"stray\.png, beside sub-folders"):
        ImageFolder(tmp_path, lambda image: plain(image, 3))


@pytest.mark.parametrize("size", [(300, 417), (417, 300), (256, 256), (100, 90), (513, 999)])
def test_imagenet_transform_as_written_out(size, tmp_path):
    draw(tmp_path / "a.png", size)
    with Image.open(tmp_path / "a.png") as image:
        found = imagenet(image, (3, 224, 224))
        # torchvision's Resize(256) and CenterCrop(224)
        short, long = min(image.size), max(image.size)
        other = int(256 * long / short)
        shape = (256, other) if image.width < image.height else (other, 256)
        left, top = (round((side - 224) / 2) for side in shape)
        cut = image.resize(shape, Image.Resampling.BILINEAR)
        cut = cut.crop((left, top, left + 224, top + 224))
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    expected = (np.asarray(cut) / 255 - mean) / std
    assert found.shape == (3, 224, 224)
    assert np.allclose(found.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def clip(path, n, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    parts = {"t": np.sort(rng.integers(0, 99, n)), "x": rng.integers(0, 5, n)}
    parts |= {"y": rng.integers(0, 4, n), "p": rng.integers(0, 2, n)}
    np.savez(path, **parts)
    return Events(*(torch.tensor(parts[name]) for name in "txyp"))


def test_event_clips_are_cut_into_frames(tmp_path):
    events = [clip(tmp_path / name, 50 + i, i) for i, name in enumerate(("a/0.npz", "b/1.npz"))]
    data = Clips(tmp_path, 3, (4, 5))
    for i, each in enumerate(events):
        frames, label = data[i]
        assert torch.equal(frames, integrate(each, 3, (4, 5)))
        assert label == i
    ((batch, labels),) = Loader(data, batch_size=2, batch_dim=1)
    assert batch.shape == (3, 2, 2, 4, 5)
    assert labels.tolist() == [0, 1]


def test_what_cannot_be_read_names_the_file(tmp_path):
    draw(tmp_path / "img/a.png", (4, 5))
    (tmp_path / "img/b.png").write_bytes(b"no image")
    clip(tmp_path / "ev/a.npz", 20)
    np.savez(tmp_path / "ev/b.npz", t=Y)
    clip(tmp_path / "small/a.npz", 20)
    for data, text in (
        (ImageFolder(tmp_path / "img", lambda image: plain(image, 3)), r"b\.png cannot be read"),
        (Clips(tmp_path / "ev", 3, (4, 5)), r"b\.npz cannot be read: there is no array x, y, p"),
        (Clips(tmp_path / "small", 3, (2, 2)), r"a\.npz cannot be read: events: x outside"),
    ):
        for workers in (0, 1):
            with pytest.raises(SyopsError, match=text):
                list(Loader(data, batch_size=2, workers=workers))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SyopsValueError, match="has no images"):
        ImageFolder(tmp_path / "empty", lambda image: plain(image, 3))


@pytest.mark.parametrize("kind", ["image", "clip"])
def test_folders_whose_classes_are_in_doubt_are_refused(tmp_path, kind):
    def make(path):
        if kind == "image":
            draw(path.with_suffix(".png"), (4, 5))
        else:
            clip(path.with_suffix(".npz"), 20)

    def opened():
        if kind == "image":
            return ImageFolder(tmp_path, lambda image: plain(image, 3))
        return Clips(tmp_path, 3, (4, 5))

    make(tmp_path / "b/0")
    make(tmp_path / "c/0")
    assert opened().labels.tolist() == [0, 1]
    (tmp_path / "a").mkdir()  # as a class it would make 1 and 2 of the labels
    with pytest.raises(SyopsValueError, match=f"a has no {kind}s, but would be a class"):
        opened()
    make(tmp_path / "a/0")
    assert opened().labels.tolist() == [0, 1, 2]
    make(tmp_path / "0")
    with pytest.raises(SyopsValueError, match="beside sub-folders"):
        opened()


def test_samples_of_different_shapes_are_named():
    data = [(torch.zeros(3), 0), (torch.zeros(4), 0)]
    with pytest.raises(SyopsValueError, match=r"sample 1 .* has the shape \[4\], and sample 0"):
        list(Loader(data, batch_size=2))


def test_shuffled_order_depends_on_the_seed_alone():
    data = [(torch.tensor([float(i)]), i) for i in range(20)]

    def order(**options):
        batches = list(Loader(data, batch_size=3, shuffle=True, **options))
        assert all(torch.equal(x[:, 0].long(), y) for x, y in batches)
        return torch.cat([y for _, y in batches]).tolist()

    loader = Loader(data, batch_size=3, shuffle=True, seed=1)
    assert len({str([y.tolist() for _, y in loader]) for _ in range(2)}) == 1
    assert order(seed=1) == order(seed=1, workers=2) != order(seed=2)
    assert sorted(order(seed=1)) == list(range(20))


@pytest.mark.slow
def test_memory_stays_flat_over_many_samples():
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    seen = []

    def batches():
        for i in range(3000):
            if i % 500 == 0:
                seen.append(resident())
            yield ((torch.arange(80).reshape(10, 8) + i) % 3 == 0).float(), torch.arange(10) % 4

    report = get_model_syops(nn.Linear(8, 4), batches())
    assert sum(report.scores.samples) == report.samples == 30_000
    assert seen[-1] - seen[1] < 2 * 2**20


class Named(torch.Tensor):
    """A tensor as libraries have for images: results are of its class, too."""


class Hooked(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return super().__torch_function__(func, types, args, kwargs or {})


class Dropped(torch.Tensor):
    """Results are plain, as those of torchvision's are."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", [Named, Hooked, Dropped])
@pytest.mark.parametrize("wrapped", [lambda x: x, lambda x: [x] * 3, lambda x: {"input": x}])
def test_inputs_of_a_class_of_the_users_count_as_plain_ones(kind, wrapped):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    x = torch.rand(2, 3, 5, 5)
    report = get_model_syops(model, wrapped(x.as_subclass(kind)))
    batches = len(wrapped(x)) if isinstance(wrapped(x), list) else 1
    assert report.totals.mac == batches * 2 * 9 * (4 * 3 * 9 + 2 * 4)  # the norm is folded
    assert report.totals == get_model_syops(model, wrapped(x)).totals
    assert any(f"of the class {kind.__name__}" in note for note in report.notes)
    bounds = get_model_bounds(model, x.as_subclass(kind), input_signal="analog")
    assert bounds.totals == get_model_bounds(model, x, input_signal="analog").totals
