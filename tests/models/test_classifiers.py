"""The classifier of the accumulated stream: the one of both, or its own."""

import pytest
import torch
from safetensors.torch import load_file

from syops import get_model_bounds, get_model_syops
from syops.errors import SyopsValueError
from syops.models import attach_aap, create_model, demo, detach_aap

pytestmark = pytest.mark.slow  # deep networks; test_all_networks counts each kind of them

SMALL = {"T": 2}
NETWORKS = {
    "dsnn_digits": ({"blocks": 2, **SMALL}, (1, 8, 8)),
    "dsnn18": ({"num_classes": 10, **SMALL}, (3, 32, 32)),
    "dsnn_7b": ({"in_channels": 1, **SMALL}, (1, 128, 128)),
    "spikformer_4_384": ({"aap": True, "g": "IAND", "depth": 1, "width": 24, **SMALL}, (3, 32, 32)),
}


def created(name, seed=0, **more):
    torch.manual_seed(seed)
    return create_model(name, **NETWORKS[name][0], **more).eval()


def images(name, n=2):
    return torch.rand(n, *NETWORKS[name][1], generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_separate_classifiers_start_equal_and_then_differ(name):
    shared, separate, x = created(name, classifier="shared"), created(name), images(name)
    own = {"fc_acc.weight", "fc_acc.bias"}
    assert separate.state_dict().keys() - shared.state_dict().keys() == own
    with torch.no_grad():
        before, same = shared(x), separate(x)
        assert torch.equal(before.spike, same.spike)
        assert torch.equal(before.accumulated, same.accumulated)
        separate.fc_acc.weight.zero_()
        after = separate(x)
    assert torch.equal(before.spike, after.spike)
    assert torch.equal(after.accumulated, separate.fc_acc.bias.expand_as(after.accumulated))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_second_classifier_costs_parameters_but_no_operations(name):
    shared, separate = created(name, classifier="shared"), created(name, classifier="separate")
    x = images(name)
    one, two = get_model_syops(shared, x), get_model_syops(separate, x)
    assert one.totals == two.totals
    assert two.params - one.params == separate.fc.weight.numel() + separate.fc.bias.numel()
    bounds = [get_model_bounds(network, x) for network in (shared, separate)]
    assert bounds[0].ec_mj == bounds[1].ec_mj


def test_each_loss_trains_the_classifier_of_its_stream():
    network, x = created("dsnn_digits", classifier="separate").train(), images("dsnn_digits")
    network(x).accumulated.sum().backward()
    assert network.fc.weight.grad is None
    assert network.fc_acc.weight.grad.any()


def test_detach_keeps_the_classifier_of_the_spikes():
    network, x = created("dsnn_digits", classifier="separate"), images("dsnn_digits")
    with torch.no_grad():
        network.fc_acc.bias += 1
        deployed = detach_aap(network)
        assert torch.equal(deployed(x), network(x).spike)
    expected = create_model("fsnn_digits", blocks=2).state_dict().keys()
    assert deployed.state_dict().keys() == expected
    assert network.fc_acc is not None


@pytest.mark.parametrize("classifier", ["shared", "separate", None])
def test_attach_with_either_classifier(classifier):
    torch.manual_seed(0)
    fsnn = create_model("fsnn_digits", blocks=2).eval()
    dsnn = attach_aap(fsnn, classifier=classifier)
    expected = create_model("dsnn_digits", blocks=2, classifier=classifier or "separate")
    assert dsnn.state_dict().keys() == expected.state_dict().keys()
    assert fsnn.fc_acc is None
    x = images("dsnn_digits")
    with torch.no_grad():
        assert torch.equal(dsnn(x).spike, fsnn(x))


@pytest.mark.parametrize("classifier", ["shared", "separate"])
def test_weights_of_both_kinds_load(classifier, tmp_path):
    network, path = created("dsnn_digits", classifier=classifier), tmp_path / "weights.pt"
    with torch.no_grad():
        network.fc.bias += 1
    torch.save(network.state_dict(), path)
    loaded = created("dsnn_digits", seed=1, classifier=classifier, weights=path)
    x = images("dsnn_digits")
    with torch.no_grad():
        assert torch.equal(loaded(x).accumulated, network(x).accumulated)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_with_one_classifier_give_it_to_both_streams(name, tmp_path):
    network, path = created(name, classifier="shared"), tmp_path / "weights.pt"
    with torch.no_grad():
        network.fc.bias += torch.arange(len(network.fc.bias))
    torch.save(network.state_dict(), path)
    by_hand = created(name, seed=1)
    by_hand.load_state_dict(network.state_dict())
    x = images(name)
    with torch.no_grad():
        expected = network(x)
        for loaded in (created(name, seed=1, weights=path), by_hand):
            assert loaded.fc_acc is not None
            assert torch.equal(loaded(x).spike, expected.spike)
            assert torch.equal(loaded(x).accumulated, expected.accumulated)


def test_weights_with_two_classifiers_need_both():
    state = created("dsnn_digits").state_dict()
    with pytest.raises(RuntimeError, match="fc_acc"):
        created("dsnn_digits", classifier="shared").load_state_dict(state)
    del state["fc.weight"]
    with pytest.raises(RuntimeError, match=r"fc\.weight"):
        created("dsnn_digits").load_state_dict(state)


def test_weights_of_earlier_versions_answer_as_before():
    """Those of the demo, trained with one classifier: the answers of a network that has one."""
    path, x = demo.weights("dsnn_digits"), demo.digits()[0][:50]
    assert "fc_acc.weight" not in load_file(path)
    networks = [create_model("dsnn_digits", weights=path, **kind).eval()
                for kind in ({}, {"classifier": "shared"})]  # fmt: skip
    assert [network.fc_acc is None for network in networks] == [False, True]
    with torch.no_grad():
        new, old = (network(x) for network in networks)
    assert torch.equal(new.spike, old.spike)
    assert torch.equal(new.accumulated, old.accumulated)


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("dsnn_digits", {"classifier": "both"}),
        ("spikformer_4_384", {"classifier": "separate"}),
    ],
)
def test_a_classifier_that_cannot_be(name, keywords):
    with pytest.raises(SyopsValueError, match="classifier="):
        create_model(name, **keywords)


def test_attaching_an_unknown_classifier():
    with pytest.raises(SyopsValueError, match="classifier='both' is not one of"):
        attach_aap(create_model("fsnn_digits", blocks=2), classifier="both")
