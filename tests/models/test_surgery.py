"""detach_aap, attach_aap, zero_init_residual and the weights of create_model."""

import copy
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from syops.errors import SyopsFileError, SyopsTypeError, SyopsValueError
from syops.models import attach_aap, calibrate, create_model, detach_aap, zero_init_residual

pytestmark = pytest.mark.slow  # deep networks; test_all_networks counts each kind of them

SEW_AND_SPIKING = [{"g": "IAND"}, {"residual": "spiking"}]


def images(n=2, channels=3, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, channels, 8, 8, generator=generator)
    return F.interpolate(coarse, size=(size, size), mode="bilinear")


def fresh(name, x, **kwargs):
    torch.manual_seed(1)
    model = create_model(name, **{"num_classes": 10, "T": 2, **kwargs}).eval()
    calibrate(model, x)
    return model


def streams_of(model, x):
    """The spikes that leave each residual block."""
    seen = []
    hooks = [
        module.register_forward_hook(lambda *args: seen.append(args[2].spike))
        for name, module in model.named_modules()
        if re.fullmatch(r"layer\d\.\d+", name)
    ]
    with torch.no_grad():
        out = model(x)
    for hook in hooks:
        hook.remove()
    return out, seen


# --- the AAP ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "kwargs"),
    [*((18, kwargs) for kwargs in SEW_AND_SPIKING), (50, {"residual": "spiking"})],
)
def test_the_fsnn_inside_a_dsnn_spikes_as_it_does_bitwise(depth, kwargs):
    x = images()
    dsnn = fresh(f"dsnn{depth}", x, **kwargs)
    (spike, accumulated), spikes = streams_of(dsnn, x)
    fsnn = detach_aap(dsnn)
    out, detached = streams_of(fsnn, x)
    assert torch.equal(out, spike)
    assert len(spikes) == (8 if depth == 18 else 16)
    assert all(torch.equal(a, b) for a, b in zip(spikes, detached, strict=True))
    assert spikes[-1].any()
    assert fsnn.state_dict().keys() == create_model(f"fsnn{depth}", **kwargs).state_dict().keys()
    again = dsnn(x)  # the DSNN is as it was
    assert torch.equal(again.accumulated, accumulated)


def test_a_detached_fsnn_shares_the_weights():
    dsnn = create_model("dsnn18", num_classes=10, T=2)
    dsnn(images()).spike.sum().backward()  # potentials that are part of a graph
    before = copy.deepcopy(dsnn.state_dict())
    shared, copied = detach_aap(dsnn), detach_aap(dsnn, copy_weights=True)
    own = dict(dsnn.named_parameters())
    assert all(p is own[k] for k, p in shared.named_parameters())
    buffers = dict(dsnn.named_buffers())
    assert all(b is buffers[k] for k, b in shared.named_buffers())
    storages = {t.data_ptr() for t in dsnn.state_dict().values()}
    assert not storages & {t.data_ptr() for t in copied.state_dict().values()}
    assert all(torch.equal(t, before[k]) for k, t in copied.state_dict().items())
    assert shared.training
    assert shared.sn1 is not dsnn.sn1
    assert any(b.aap is not None for b in dsnn.layer2)


@pytest.mark.parametrize("name", ["fsnn18", "spiking_resnet34_tdbn", "sew_resnet50"])
def test_attach_aap_to_an_fsnn(name):
    x = images()
    kwargs = {"g": "XOR"} if name == "sew_resnet50" else {}
    fsnn = fresh(name, x, **kwargs).double()
    out, spikes = streams_of(fsnn, x.double())
    dsnn = attach_aap(fsnn)
    (spike, accumulated), attached = streams_of(dsnn, x.double())
    assert torch.equal(spike, out)
    assert all(torch.equal(a, b) for a, b in zip(spikes, attached, strict=True))
    assert accumulated.shape == out.shape
    assert not torch.equal(accumulated, spike)
    own = dict(fsnn.named_parameters())
    extra = {k for k, p in dsnn.named_parameters() if p is not own.get(k)}
    assert extra
    assert all(".aap." in k or k.startswith("fc_acc.") for k in extra)
    assert not any(m.training for m in dsnn.modules())
    assert all(torch.equal(a, b) for a, b in zip([out], [fsnn(x.double())], strict=True))
    # and back again
    assert torch.equal(detach_aap(dsnn)(x.double()), out)


def test_an_attached_aap_learns():
    torch.manual_seed(0)
    dsnn = attach_aap(create_model("fsnn18", num_classes=3, T=2))
    out = dsnn(images())
    (out.spike.sum() + out.accumulated.sum()).backward()
    assert not [k for k, p in dsnn.named_parameters() if p.grad is None]
    assert dsnn.state_dict().keys() == create_model("dsnn18").state_dict().keys()


def test_detach_needs_an_aap():
    with pytest.raises(SyopsValueError, match="detach_aap.*no auxiliary accumulation.*dsnn"):
        detach_aap(create_model("fsnn18"))
    with pytest.raises(SyopsTypeError, match="str"):
        detach_aap("dsnn18")


@pytest.mark.parametrize(
    ("name", "told"),
    [("dsnn18", "already"), ("sew_resnet18", "g=ADD"), ("resnet18", "ANN")],
)
def test_an_aap_that_cannot_be_attached(name, told):
    with torch.device("meta"), pytest.raises(SyopsValueError, match=told):
        attach_aap(create_model(name))
    with pytest.raises(SyopsValueError, match="Linear has no residual blocks"):
        attach_aap(nn.Linear(1, 1))


# --- identity mapping, §4.2 ---------------------------------------------------------------------


def block_inputs_and_outputs(model, x):
    seen = []
    for name, module in model.named_modules():
        if re.fullmatch(r"layer\d\.\d+", name):
            keeps = isinstance(module.downsample, nn.Identity)
            module.register_forward_hook(
                lambda _m, args, out, keeps=keeps: seen.append((keeps, args[0], out))
            )
    with torch.no_grad():
        model(x)
    return seen


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        *(("dsnn18", {"g": g, "neuron": "LIF"}) for g in ("IAND", "OR", "XOR")),
        ("sew_resnet50", {"g": "ADD"}),
        ("fsnn50", {"g": "OR"}),
        ("dsnn18", {"residual": "spiking", "neuron": "LIF", "v_threshold": 0.3}),
        ("spiking_resnet18", {}),
        ("spiking_resnet34_tdbn", {"v_threshold": 0.5}),
    ],
)
def test_zero_init_makes_a_block_the_identity_on_spikes(name, kwargs):
    x = images()
    model = fresh(name, x, **kwargs)
    zero_init_residual(model)
    seen = block_inputs_and_outputs(model, x)
    identities = [(before, after) for keeps, before, after in seen if keeps]
    blocks = {"18": (8, 3), "34": (16, 3), "50": (16, 4)}[re.search(r"\d\d", name)[0]]
    assert len(identities) == blocks[0] - blocks[1]
    assert identities[0][0].spike.any()
    for before, after in identities:
        assert torch.equal(before.spike, after.spike)
        if name.startswith("dsnn"):
            assert torch.equal(before.accumulated, after.accumulated)


def test_zero_init_silences_and():
    x = images()
    model = fresh("fsnn18", x, g="AND")
    assert any(after.spike.any() for _, _, after in block_inputs_and_outputs(model, x))
    zero_init_residual(model)
    assert not any(after.spike.any() for _, _, after in block_inputs_and_outputs(model, x))


def test_zero_init_touches_the_last_bn_only():
    model = create_model("dsnn50", num_classes=2)
    before = copy.deepcopy(model.state_dict())
    zero_init_residual(model)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {k for k in before if k.endswith("bn3.weight")}
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(SyopsValueError, match="Linear has no residual blocks"):
        zero_init_residual(nn.Linear(1, 1))


# --- weights ------------------------------------------------------------------------------------


def test_weights_from_a_file(tmp_path):
    state = create_model("fsnn18", num_classes=3).state_dict()
    torch.save(state, tmp_path / "weights.pt")
    for path in (tmp_path / "weights.pt", str(tmp_path / "weights.pt")):
        model = create_model("fsnn18", num_classes=3, weights=path)
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_weights_that_do_not_fit(tmp_path):
    torch.save(create_model("fsnn18", num_classes=3).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(SyopsValueError, match=r"weights.pt.*wrong shapes: fc.bias \(\[3\] instead"):
        create_model("fsnn18", num_classes=4, weights=tmp_path / "weights.pt")
    with pytest.raises(SyopsFileError, match=r"none.pt cannot be read"):
        create_model("fsnn18", weights=tmp_path / "none.pt")


def test_a_state_dict_without_names_and_arguments_of_other_types(tmp_path):
    torch.save({5: torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.raises(SyopsFileError, match="not names"):
        create_model("fsnn18", num_classes=3, weights=tmp_path / "weights.pt")
    with pytest.raises(SyopsTypeError, match="weights must be the path"):
        create_model("fsnn18", weights=5)
    for name in (None, 5, ["dsnn18"]):
        with pytest.raises(SyopsTypeError, match="name must be"):
            create_model(name)
    with pytest.raises(SyopsTypeError, match="bundled network"):
        zero_init_residual(None)
