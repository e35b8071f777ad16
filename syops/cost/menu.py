"""Price one network under every model of energy that is known here, or say why a model refuses.

The profiles of ``profiles.toml`` price each operation. The models of ``models.toml`` also know
memory, crossbars or events of a processor; each has a function here. Both files give every
constant with its source, and `docs/energy.md` has them in a table.

Counts are sums over all samples; T is in them, as everything executed is counted.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from syops.cost.energy import LARGEST
from syops.cost.figures import Figures
from syops.cost.memory import KIB, MIB, Access, MemoryFigures, MemoryModel, more_than_arithmetic
from syops.cost.pricing import PJ_PER_MJ, millijoules
from syops.cost.profiles import list_energy_models
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.ledger.rows import Operations, Row
from syops.ops.kinds import LAYERS, PLANAR, SYNAPTIC
from syops.units import quantity

Constants = Mapping[str, float]


@dataclass(frozen=True)
class MenuModel:
    """Describe a model of energy.

    Attributes:
        name: its id.
        fidelity: "paper", "code" or "own".
        scope: what it takes in.
        refuses: what it cannot do.
        gets_wrong: what the figure leaves out or overstates.
        source: where it is from.
        constants: by name.
        sources: what states each of them.
        formula: the right side of each equation by its left side, ``E`` the first one, in pJ.
        symbols: what each symbol of the formula stands for, with its unit.
    """

    name: str
    fidelity: str
    scope: str
    refuses: str
    gets_wrong: str
    source: str
    constants: Constants
    sources: Mapping[str, str]
    formula: Mapping[str, str]
    symbols: Mapping[str, str]


@dataclass(frozen=True)
class Estimate:
    """Hold what one model says of a network.

    Attributes:
        name: its id.
        fidelity, scope, source: of the model.
        energy_mj: in mJ per sample; None where it refuses.
        refused: why it refuses, "" where it does not.
    """

    name: str
    fidelity: str
    scope: str
    source: str
    energy_mj: float | None
    refused: str = ""


@dataclass(frozen=True)
class Setting:
    """Hold what a user says of the hardware, which a count does not tell.

    Attributes:
        memory: the queues and the bits of the models that know memory, which have the prices.
        latency_ms: how long an inference takes, in ms.
        hops: from core to core that a message makes on average, east or west and north or south.

    Raises:
        SyopsTypeError, SyopsValueError: another sort of value, prices of memory, or a negative or
            infinite number.

    Example:
        >>> Setting(latency_ms=0.5, hops=(1.5, 0)).hops
        (1.5, 0)
    """

    memory: MemoryModel = MemoryModel()
    latency_ms: float | None = None
    hops: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.memory, MemoryModel):
            raise SyopsTypeError(
                f"memory: expected a MemoryModel, got {type(self.memory).__name__}"
            )
        if self.memory.points != MemoryModel().points:
            raise SyopsValueError(
                "energy models have prices of memory of their own: give MemoryModel(queue=..., "
                "bits=...) without points, or call report.memory(model) for prices of yours"
            )
        if self.latency_ms is not None:
            _check_number(self.latency_ms, "latency must be a number of ms")
        if self.hops is not None:
            said = "hops must be two numbers, east or west and north or south"
            if not isinstance(self.hops, tuple | list) or len(self.hops) != 2:
                raise SyopsTypeError(f"{said}, got {shown(self.hops)}")
            for number in self.hops:
                _check_number(number, said)

    @property
    def told(self) -> tuple[str, ...]:
        """What differs from the defaults, in words."""
        found = []
        if self.memory.queue != MemoryModel().queue:
            found.append(f"queues of {self.memory.queue} messages")
        if self.memory.bits is not None:
            found.append(f"{self.memory.bits} bits for each weight, value and state")
        if self.latency_ms is not None:
            found.append(f"{quantity(self.latency_ms / 1000, 's')} for each inference")
        if self.hops is not None:
            found.append("{:g} and {:g} hops for each message".format(*self.hops))
        return tuple(found)


def _check_number(number: Any, said: str) -> None:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise SyopsTypeError(f"{said}, got {shown(number)}")
    if not 0 <= number <= LARGEST:
        raise SyopsValueError(f"{said}, at least 0 and at most {LARGEST:g}, got {number!r}")


class Refused(SyopsValueError):
    """Say why a model does not apply to a network."""


@cache
def menu_models() -> tuple[MenuModel, ...]:
    """Return the models of ``models.toml``."""
    text = resources.files("syops.cost").joinpath("models.toml").read_text("utf-8")
    entries = tomllib.loads(text)
    return tuple(_menu_model(name, entries) for name in entries)


def _menu_model(name: str, entries: Mapping[str, dict[str, Any]]) -> MenuModel:
    """Return a model; equations and symbols that it lacks are those of the one it is ``like``."""
    entry = dict(entries[name])
    base = entries.get(entry.pop("like", ""), {})
    merged = {key: base.get(key, {}) | entry.get(key, {}) for key in ("formula", "symbols")}
    return MenuModel(name, **(entry | merged))


def estimates(report: Figures, setting: Setting) -> tuple[Estimate, ...]:
    """Return what each profile and each model says.

    Raises:
        SyopsValueError: nothing was measured.
    """
    if not report.measured:
        raise SyopsValueError("energy models price what was measured: give a report of a run")
    others = (_by_model(report, model, setting) for model in menu_models())
    return (*_by_profiles(report), *others)


def _by_profiles(report: Figures) -> Iterator[Estimate]:
    for model in list_energy_models():
        priced = report.priced(model)
        refused = ""
        if report.totals.mac and model.e_mac_pj is None:
            refused = f"no price for MACs: {_named(_with_macs(report))}"
        energy = None if refused else priced.dc_mj
        yield Estimate(model.name, "paper", model.includes, model.source, energy, refused)


def _by_model(report: Figures, model: MenuModel, setting: Setting) -> Estimate:
    try:
        spent = MODELS[model.name](report, model.constants, setting)
        energy: float | None = millijoules(spent, report.samples)
        refused = ""
    except Refused as error:
        energy, refused = None, str(error)
    return Estimate(model.name, model.fidelity, model.scope, model.source, energy, refused)


# What the models ask of a report


def _synaptic(report: Figures) -> list[tuple[Row, Operations]]:
    """Return the synaptic rows inside the totals, in the order of execution."""
    return [
        (row, operations)
        for row, operations in zip(report.effective_rows, report.operations, strict=True)
        if row.kind in report.kinds & set(SYNAPTIC)
    ]


def _neurons(report: Figures) -> list[Row]:
    """Return the rows of neurons.

    Raises:
        Refused: there is none.
    """
    found = [row for row in report.rows if row.kind == "neuron"]
    if not found:
        raise Refused("no neuron is known as one, so that its updates are not told apart")
    return found


def _with_macs(report: Figures) -> list[str]:
    """Return the rows inside the totals that do MACs."""
    pairs = zip(report.effective_rows, report.operations, strict=True)
    return [_name(row) for row, operations in pairs if row.kind in report.kinds and operations.mac]


def _only_spikes(report: Figures) -> None:
    macs = _with_macs(report)
    if macs:
        raise Refused(f"no price for MACs: {_named(macs)}")


def _name(row: Row) -> str:
    return f"{row.path or 'the model'} ({row.operator})"


def _named(names: Sequence[str], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _sent(report: Figures) -> int:
    """Return the spikes that neurons send.

    Where these were not counted they are those that reach any layer but the first, once for each.
    """
    if report.neuron_layers is not None:
        return sum(layer.spikes for layer in report.neuron_layers if not layer.analog)
    return sum(operations.spikes for _, operations in _synaptic(report)[1:])


def _has_bias(row: Row) -> bool:
    """Return whether a layer adds a bias, as the number of its module's parameters tells.

    Raises:
        Refused: that cannot be told: the module has other parameters, or an earlier row has them.
    """
    more = row.params - row.weights
    if row.kind == "matmul" or not more:
        return False
    if more != _outputs(row):
        raise Refused(f"whether a bias is added cannot be told: {_name(row)}")
    return True


def _outputs(row: Row) -> int:
    """Return the channels of a result; the weights of a linear layer may lie either way."""
    if row.kind == "conv" and row.result_shape:
        return row.result_shape[0]
    return row.weights * row.written // max(1, row.dense)


# Processors, by event


def _kerasspiking(report: Figures, c: Constants, setting: Setting) -> float:
    """Return E = synops · e_s + updates · e_n, synops = mean rate · connections."""
    _only_spikes(report)
    updates = sum(row.dense for row in _neurons(report))
    return float(report.totals.ac) * c["synop_pj"] + updates * c["neuron_pj"]


def _sana_fe(report: Figures, c: Constants, setting: Setting) -> float:
    """Return the energy of synaptic events, neuron updates, spikes, messages and their hops."""
    _only_spikes(report)
    along, across = setting.hops or (0.0, 0.0)
    message = c["message_pj"] + along * c["hop_east_west_pj"] + across * c["hop_north_south_pj"]
    total = 0.0
    for row, operations in _synaptic(report):
        if row.kind == "matmul":
            raise Refused(f"a product of two activations: {_name(row)}")
        each = c["synapse_conv_pj" if row.kind == "conv" else "synapse_dense_pj"]
        total += operations.ac_events * each + operations.spikes * message
    updates = sum(row.dense for row in _neurons(report))
    total += updates * (c["soma_access_pj"] + c["soma_update_pj"])
    return total + _sent(report) * c["soma_spike_pj"]


def _spyx(report: Figures, c: Constants, setting: Setting) -> float:
    """Return SOP·(E_ACC + b·E_w) + N·T·(E_CMP + 2·b·E_u) + spikes·E_SUB."""
    _only_spikes(report)
    updates = sum(row.dense for row in _neurons(report))
    synops, bits = report.totals.ac_events, c["bits"]
    weights = synops * (c["accumulate_pj"] + bits * c["weight_pj_per_bit"])
    states = updates * (c["compare_pj"] + 2 * bits * c["state_pj_per_bit"])
    return weights + states + _sent(report) * c["subtract_pj"]


def _at_rest(report: Figures, c: Constants, setting: Setting) -> float:
    """Return the power at rest · latency."""
    if setting.latency_ms is None:
        raise Refused("how long an inference takes is not known: latency=, --latency")
    return c["resting_mw"] * setting.latency_ms * PJ_PER_MJ / 1000 * report.samples


# Memory


def _accesses(report: Figures, model: MemoryModel, law: Callable[[Access], float]) -> float:
    """Return the report's DC and its accesses under a law, over all samples."""
    whole = more_than_arithmetic(report)
    if whole:
        raise Refused(
            f"the report is priced as {whole}, whose operations are no mere arithmetic: "
            "priced('horowitz45-fp32') first"
        )
    figures = MemoryFigures.of(report, model)
    found = (access for row in figures.rows for access in row.accesses)
    memory = sum((access.count or 0.0) * law(access) for access in found if access.count)
    assert report.dc_mj is not None  # it was measured
    return report.dc_mj * PJ_PER_MJ * report.samples + memory * report.samples


def _interpolated(report: Figures, c: Constants, setting: Setting) -> float:
    sizes = {8 * KIB: "8_KiB", 32 * KIB: "32_KiB", MIB: "1_MiB"}
    points = [(size, c[f"pj_per_8_bytes_at_{name}"] / 8) for size, name in sizes.items()]
    prices = MemoryModel(points=((0, 0.0), *points))

    def law(access: Access) -> float:
        return float(prices.pj_per_byte(access.buffer)) * access.bytes_each

    return _accesses(report, setting.memory, law)


def _regression(report: Figures, c: Constants, setting: Setting) -> float:
    def law(access: Access) -> float:
        return c["slope_pj_per_bit"] * 8 * access.buffer + c["intercept_pj"]

    return _accesses(report, setting.memory, law)


def _width(report: Figures, c: Constants, setting: Setting) -> float:
    def law(access: Access) -> float:
        return c["pj_per_64_bits"] / max(1, 64 // (8 * access.bytes_each))

    return _accesses(report, setting.memory, law)


def step_bytes(report: Figures, memory: MemoryModel) -> dict[str, int]:
    """Return the bytes of weights, biases and states that are read or written, over all samples."""
    weights = biases = 0
    for row, operations in _synaptic(report):
        each = memory.bytes_each(row.dtype)
        weights += each * (operations.mac or operations.ac_events)
        biases += each * row.written if _has_bias(row) else 0
    states = sum(memory.bytes_each(row.dtype) * row.written for row in _neurons(report))
    return {"weights": weights, "biases": biases, "states": 2 * states}


def _step(report: Figures, c: Constants, setting: Setting) -> float:
    totals = report.totals
    arithmetic = totals.ac_events * c["ac_pj"] + totals.mac * c["mac_pj"]
    stored = sum(step_bytes(report, setting.memory).values())
    return arithmetic + 8 * c["memory_pj_per_bit"] * stored


# Crossbars


def _spikesim(report: Figures, c: Constants, setting: Setting) -> float:
    """Return Σ T · ceil(Ci/X) · ceil(Co/X) · Ho · Wo · E_cycle."""
    size = int(c["crossbar_size"])
    rows = size / 8
    control = c["htree_pj"] + c["memory_fetch_pj"] + c["tile_buffer_pj"]
    control += rows * (16 * c["subtraction_pj"] + c["temporary_buffer_pj"])
    control += rows * rows * (c["adc_pj"] + c["mux_pj"]) + c["neuron_pj"]
    total = 0.0
    for row, _ in _synaptic(report):
        if row.operator != PLANAR or len(row.weight_shape) != 4:
            raise Refused(f"not a conv2d of one shape: {_name(row)}")
        if row.groups != 1:
            raise Refused(f"a convolution with groups: {_name(row)}")
        outputs, inputs, *kernel = row.weight_shape
        cycles = row.written // max(1, outputs) * -(-inputs // size) * -(-outputs // size)
        total += cycles * (control + rows * math.prod(kernel) * c["rram_crossbar_pj"])
    if not total:
        raise Refused("no conv2d")
    return total


# Lemaire et al., as printed


def lemaire_counts(
    report: Figures, memory: MemoryModel
) -> tuple[dict[str, int], list[tuple[int, int]]]:
    """Count operations, addressing and accesses of a chain of layers and neurons.

    Args:
        report: the network.
        memory: the queues, and the bits of an element; 32 unless it says otherwise.

    Returns:
        the operations ``ac``, ``mac``, ``acc_addr`` and ``mac_addr``; and of each kind of access
        the bytes and those of its buffer.

    Raises:
        Refused: a network out of the paper's scope; names the row.
    """
    chain = _chain(report)
    counts = dict.fromkeys(("ac", "mac", "acc_addr", "mac_addr"), 0)
    accesses: list[tuple[int, int]] = []
    steps = report.time_steps or 1
    width = memory.bytes_each("float32")
    message, queue = memory.message_bytes, memory.message_bytes * memory.queue
    for place, (row, operations) in enumerate(chain):
        results = width * (row.written // (report.samples * steps))
        if row.kind == "neuron":
            _, following = chain[place + 1]
            counts["ac"] += following.spikes
            counts["mac"] += row.dense if row.operator == "LIFNode" else 0
            each = width * (row.dense // (report.samples * steps))
            accesses += [(width * row.dense, each), (width * row.dense, each)]
            accesses.append((message * following.spikes, queue))
            continue
        kernel = row.weight_shape[2:] if row.kind == "conv" else ()
        outputs = _outputs(row) // row.groups
        has_bias = _has_bias(row)
        numel = row.drives[0].numel
        parameters = width * (row.weights + (_outputs(row) if has_bias else 0))
        if operations.mac:
            uses = row.dense
            counts["mac"] += uses
            times = _times(report, row)
            table = row.weight_shape[0] * math.prod(kernel) if kernel else 0
            counts["acc_addr"] += numel + row.written + times * table
            read = uses if kernel else numel
            accesses.append((width * read, width * (numel // times)))
            if len(chain) == 1:
                accesses.append((width * row.written, width * (row.written // times)))
        else:
            uses = operations.spikes * outputs * math.prod(kernel)
            reached = [-(-k // s) for k, s in zip(kernel, row.stride, strict=True)]
            counts["ac"] += operations.spikes * outputs * math.prod(reached)
            counts["acc_addr"] += uses
            counts["mac_addr"] += 2 * operations.spikes if kernel else 0
            accesses.append((message * operations.spikes, queue))
            accesses += [(width * uses, results), (width * uses, results)]
        counts["ac"] += row.written if has_bias else 0
        accesses.append((width * (uses + (row.written if has_bias else 0)), parameters))
    return counts, accesses


def _chain(report: Figures) -> list[tuple[Row, Operations]]:
    """Return the layers and neurons of a network in which they take turns, layers at both ends."""
    found = [
        (row, operations)
        for row, operations in zip(report.effective_rows, report.operations, strict=True)
        if row.folded is None
    ]
    for place, (row, _) in enumerate(found):
        layer = row.operator in LAYERS and len(row.drives) == 1
        neuron = row.kind == "neuron" and row.operator in ("IFNode", "LIFNode")
        if not (neuron if place % 2 else layer):
            raise Refused(f"not a chain of layers and IF or LIF neurons: {_name(row)}")
        if layer and not (row.weight_shape and (row.stride or row.kind != "conv")):
            raise Refused(f"its weights or its input differ in shape: {_name(row)}")
    if len(found) % 2 == 0:
        what = _name(found[-1][0]) if found else "nothing was counted"
        raise Refused(f"the spikes of the last neuron reach no layer, and are not counted: {what}")
    return found


def _times(report: Figures, row: Row) -> int:
    """Return how often a layer is called for a sample, over all samples.

    Raises:
        Refused: how many batches there were is not known.
    """
    if not report.passes:
        raise Refused(f"how many samples are in a batch is not known: {_name(row)}")
    return max(1, report.samples * row.calls // report.passes)


def _lemaire(report: Figures, c: Constants, setting: Setting) -> float:
    counts, accesses = lemaire_counts(report, setting.memory)
    sizes = {8 * KIB: "8_KiB", 32 * KIB: "32_KiB", MIB: "1_MiB"}
    points = [(size, c[f"pj_per_4_bytes_at_{name}"] / 4) for size, name in sizes.items()]
    prices = MemoryModel(points=((0, 0.0), *points))
    fetched = sum(read * float(prices.pj_per_byte(buffer)) for read, buffer in accesses)
    accumulates, products = counts["ac"] + counts["acc_addr"], counts["mac"] + counts["mac_addr"]
    return accumulates * c["add_pj"] + products * (c["multiply_pj"] + c["add_pj"]) + fetched


MODELS: dict[str, Callable[[Figures, Constants, Setting], float]] = {
    "lemaire-interpolated": _interpolated,
    "lemaire-regression": _regression,
    "lemaire-width": _width,
    "lemaire-2022": _lemaire,
    "step": _step,
    "spikesim": _spikesim,
    "spyx-honest": _spyx,
    "sana-fe-loihi": _sana_fe,
    "kerasspiking-loihi": _kerasspiking,
    "kerasspiking-spinnaker": _kerasspiking,
    "kerasspiking-spinnaker2": _kerasspiking,
    "speck-at-rest": _at_rest,
}
"""The energy of each model over all samples, in pJ."""
