"""Energy profiles against the numbers of Horowitz (2014), and what is not an energy model."""

from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest

from syops.energy import EnergyModel, get_energy_model, list_energy_models
from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError

# Additions and multiplications at 45 nm and 0.9 V in pJ: Horowitz, ISSCC 2014, Fig. 1.1.9.
HOROWITZ = {
    "horowitz45-fp32": (0.9, 3.7),
    "horowitz45-fp16": (0.4, 1.1),
    "horowitz45-int8": (0.03, 0.2),
    "horowitz45-int32": (0.1, 3.1),
}


@pytest.mark.parametrize(("name", "costs"), HOROWITZ.items())
def test_an_ac_is_an_addition_and_a_mac_a_multiplication_more(name, costs):
    addition, multiplication = costs
    model = get_energy_model(name)
    assert model.e_ac_pj == addition
    assert model.e_mac_pj == pytest.approx(addition + multiplication, rel=1e-12)


def test_profiles_are_listed_with_source_and_technology_the_default_first():
    models = list_energy_models()
    assert [model.name for model in models] == list(HOROWITZ)
    assert all("Horowitz" in model.source and "45 nm" in model.technology for model in models)


def test_energy_is_the_sum_of_both_kinds_of_operations():
    model = EnergyModel("mine", e_ac_pj=0.5, e_mac_pj=4)
    assert model.energy_pj(10, 3) == 17
    assert model.energy_pj(Fraction(1, 3), 0) == pytest.approx(1 / 6)


def test_a_model_of_ones_own_is_returned_as_it_is():
    model = EnergyModel("mine", 1, 2)
    assert get_energy_model(model) is model
    with pytest.raises(FrozenInstanceError):
        model.e_ac_pj = 3


def test_costs_are_plain_floats_whatever_they_came_as():
    model = EnergyModel("mine", np.float32(0.5), Fraction(1, 2))
    assert (model.e_ac_pj, model.e_mac_pj) == (0.5, 0.5)
    assert {type(model.e_ac_pj), type(model.e_mac_pj)} == {float}


@pytest.mark.parametrize("cost", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["e_ac_pj", "e_mac_pj"])
def test_a_cost_is_finite_and_not_negative(field, cost):
    costs = {"e_ac_pj": 1, "e_mac_pj": 1, field: cost}
    with pytest.raises(SyopsValueError, match=f"'mine': {field}"):
        EnergyModel("mine", **costs)


@pytest.mark.parametrize("cost", ["0.9", None, True, 1j])
def test_a_cost_is_a_number(cost):
    with pytest.raises(SyopsTypeError, match="e_mac_pj"):
        EnergyModel("mine", 0.9, cost)


def test_an_unknown_profile_is_named_with_a_suggestion_and_all_known_ones():
    with pytest.raises(SyopsLookupError, match="'horowitz45-fp23'.*did you mean.*-fp32") as error:
        get_energy_model("horowitz45-fp23")
    assert all(name in str(error.value) for name in HOROWITZ)


def test_an_energy_that_is_no_name_and_no_model():
    with pytest.raises(SyopsTypeError, match="energy"):
        get_energy_model(4.6)
