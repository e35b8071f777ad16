"""Make a page of each convention and each energy model while MkDocs builds, from their files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from syops.cost.conventions import SWITCHES, Convention, list_conventions
from syops.cost.energy import EnergyModel
from syops.cost.menu.estimates import MenuModel, menu_models
from syops.cost.profiles import list_energy_models

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_POSITIONS = {
    ("graded", "mac"): "An input of integers that are not spikes makes MACs.",
    ("graded", "ac"): "An integer that is not a spike makes as many ACs as its magnitude.",
    ("graded", "spikes"): "An integer that is not a spike makes one AC, unless it is 0.",
    ("ac", "rate"): "ACs of a layer: firing rate x dense count.",
    ("ac", "events"): "ACs of a layer: the sum of the synapses that each spike reaches.",
    ("norms", "folded"): "A norm costs nothing where it can be folded, else 2 MACs an element.",
    ("norms", "counted"): "A norm costs 2 MACs an element.",
    ("norms", "free"): "A norm costs nothing.",
    ("repeats", "counted"): "A layer is counted as often as it runs.",
    ("repeats", "once"): "MACs on the values of the previous time-step are counted once.",
    ("pairs", "product"): "A product of two spike tensors is driven at the product of both rates.",
    ("pairs", "min"): "A product of two spike tensors is driven at the lower of both rates.",
    ("saturated", "ac"): "A layer whose every input is a spike, at every time-step, does ACs.",
    ("saturated", "mac"): "A layer whose every input is a spike, at every time-step, does MACs.",
    ("neurons", "out"): "Neuron updates are outside the totals.",
    ("neurons", "in"): "Neuron updates are in the totals, one MAC each.",
}
"""What each position of a switch of a convention means."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and put them into the navigation below the page on all of them."""
    from mkdocs.structure.files import File

    for title, folder, pages in (
        ("Conventions", "conventions", convention_pages()),
        ("Energy models", "energy", energy_pages()),
    ):
        below = {f"{folder}/{name}.md": text for name, text in pages.items()}
        for path, text in below.items():
            files.append(File.generated(config, path, content=text))
        overview = {title: f"{folder}.md"}
        sections = [s for part in config.nav or [] for s in part.values() if isinstance(s, list)]
        (section,) = (section for section in sections if overview in section)
        pages_of = [{f"All {title.lower()}": f"{folder}.md"}, *below]
        section[section.index(overview)] = {title: pages_of}
    return files


def convention_pages() -> dict[str, str]:
    """Return a page of each convention, by its name."""
    return {each.name: "\n\n".join(_convention(each)) + "\n" for each in list_conventions()}


def energy_pages() -> dict[str, str]:
    """Return a page of each energy profile and each other model of energy, by its name."""
    profiles = {each.name: _profile(each) for each in list_energy_models()}
    models = {each.name: _model(each) for each in menu_models()}
    return {name: "\n\n".join(parts) + "\n" for name, parts in (profiles | models).items()}


def _convention(of: Convention) -> Iterator[str]:
    yield f"# {of.name}"
    yield f"{_sentence(of.title)} `report.under({of.name!r})`, `syops run --convention {of.name}`."
    yield "## Formula"
    yield "E = E_ac · O_ac + E_mac · O_mac, with the prices of the energy profile."
    if of.counter == "syops":
        switches = [name for name in SWITCHES if name != "counter"]
        yield "\n".join(f"* {_POSITIONS[name, getattr(of, name)]}" for name in switches)
    else:
        yield f"ACs and MACs are those that {of.counter} counts, by the values of each call."
    yield "**Units**: ACs and MACs per sample, all time-steps together; energies in mJ."
    yield f"**Counts**: {_sentence(of.scope)}"
    yield f"**Gets wrong**: {_sentence(of.gets_wrong)}"
    yield f"**Source**: {_sentence(of.source)} Fidelity: {of.fidelity}."
    if of.bibtex:
        yield f"```bibtex\n{of.bibtex.strip()}\n```"


def _profile(of: EnergyModel) -> Iterator[str]:
    yield f"# {of.name}"
    yield f"A price for each operation ({of.technology}). `syops run --energy {of.name}`."
    yield "## Formula"
    terms = {"O_ac": of.e_ac_pj, "O_mac": of.e_mac_pj, "spikes": of.e_spike_pj or None}
    terms["updates of neurons"] = of.e_neuron_pj
    priced = [f"{price:g} pJ · {what}" for what, price in terms.items() if price is not None]
    yield f"E = {' + '.join(priced)}{'; a MAC has no price' if of.e_mac_pj is None else ''}"
    yield "**Units**: picojoules an operation; energies in mJ per sample."
    if of.includes:
        yield f"**Includes**: {_sentence(of.includes)}"
    yield f"**Gets wrong**: {_wrong(of)}"
    yield f"**Source**: {_sentence(of.source)}"


def _wrong(of: EnergyModel) -> str:
    """Return what a price for each operation leaves out."""
    if of.e_mac_pj is not None:
        return "memory and the routing of spikes are left out: see [memory](../energy.md#memory)."
    said = "MACs have no price and are left out, which the report says first"
    if of.spike_only:
        said += "; the chip cannot run the layers that do them"
    return f"{said}. Chips define a synaptic operation differently; static power is left out."


def _model(of: MenuModel) -> Iterator[str]:
    yield f"# {of.name}"
    yield f"{_sentence(of.scope)} `report.energy_menu()`, `syops energy --compare NETWORK`."
    yield "## Formula"
    yield "\n".join(["```text", *_equations(of), "```"])
    yield (
        "E is the energy of one sample in pJ. Counts are those of one sample, over all time-steps; "
        "buffers are those of one sample at one time-step."
    )
    rows = [f"| `{symbol}` | {told} |" for symbol, told in of.symbols.items()]
    yield "\n".join(["| symbol | stands for |", "|---|---|", *rows])
    yield "## Constants"
    rows = [
        f"| `{name}` | {value:g} | {of.sources[name]} |" for name, value in of.constants.items()
    ]
    yield "\n".join(["| constant | value | source |", "|---|--:|---|", *rows])
    yield "**Units**: picojoules, unless the name of the constant says otherwise; energies in mJ."
    yield f"**Gets wrong**: {_sentence(of.gets_wrong)}"
    yield f"**Refuses**: {_sentence(of.refuses)}"
    yield f"**Source**: {_sentence(of.source)} Fidelity: {of.fidelity}."


def _equations(of: MenuModel) -> Iterator[str]:
    """Yield the equations of a model; the terms of a long one stand below each other."""
    for left, right in of.formula.items():
        yield f"{left} = {right.strip()}".replace("\n", "\n    ")


def _sentence(text: str) -> str:
    """Return a text as a sentence."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
