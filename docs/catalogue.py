"""Make a page of each convention and each energy model while MkDocs builds, from their files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from syops.cost.conventions import SWITCHES, Convention, list_conventions
from syops.cost.energy import EnergyModel
from syops.cost.menu import MenuModel, menu_models
from syops.cost.profiles import list_energy_models

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_POSITIONS = {
    ("graded", "mac"): "Integers that are no spikes are MACs.",
    ("graded", "ac"): "An integer that is no spike is as many ACs as its magnitude.",
    ("graded", "spikes"): "An integer that is no spike is one AC if it is not 0.",
    ("ac", "rate"): "ACs of a layer: firing rate x dense count.",
    ("ac", "events"): "ACs of a layer: the synapses that each spike reaches, added up.",
    ("norms", "folded"): "A norm costs nothing where it can be folded, else 2 MACs an element.",
    ("norms", "counted"): "A norm costs 2 MACs an element.",
    ("norms", "free"): "A norm costs nothing.",
    ("repeats", "counted"): "A layer is counted as often as it runs.",
    ("repeats", "once"): "MACs on the values of the time-step before are counted once.",
    ("pairs", "product"): "A product of two spike tensors has the product of both rates.",
    ("pairs", "min"): "A product of two spike tensors has the lesser of both rates.",
    ("saturated", "ac"): "A layer that gets a spike everywhere and always does ACs.",
    ("saturated", "mac"): "A layer that gets a spike everywhere and always does MACs.",
    ("neurons", "out"): "Updates of neurons are outside the totals.",
    ("neurons", "in"): "Updates of neurons are in the totals, a MAC each.",
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
        section[section.index(overview)] = {title: [{"Overview": f"{folder}.md"}, *below]}
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
    yield f"A price for each operation: {of.technology}. `syops run --energy {of.name}`."
    yield "## Formula"
    terms = {"O_ac": of.e_ac_pj, "O_mac": of.e_mac_pj, "spikes": of.e_spike_pj or None}
    terms["updates of neurons"] = of.e_neuron_pj
    priced = [f"{price:g} pJ · {what}" for what, price in terms.items() if price is not None]
    yield f"E = {' + '.join(priced)}{'; a MAC has no price' if of.e_mac_pj is None else ''}"
    yield "**Units**: picojoules an operation; energies in mJ per sample."
    if of.includes:
        yield f"**Includes**: {_sentence(of.includes)}"
    if of.spike_only:
        yield "**Gets wrong**: layers that get more than spikes, which the chip cannot run."
    else:
        yield "**Gets wrong**: whatever is not arithmetic: see [memory](../energy.md#memory)."
    yield f"**Source**: {_sentence(of.source)}"


def _model(of: MenuModel) -> Iterator[str]:
    yield f"# {of.name}"
    yield f"{_sentence(of.scope)} `report.energy_menu()`, `syops energy --compare NETWORK`."
    yield "## Constants"
    rows = [
        f"| `{name}` | {value:g} | {of.sources[name]} |" for name, value in of.constants.items()
    ]
    yield "\n".join(["| constant | value | source |", "|---|--:|---|", *rows])
    yield "**Units**: picojoules, unless the name of the constant says otherwise; energies in mJ."
    yield f"**Refuses**: {_sentence(of.refuses)}"
    yield f"**Source**: {_sentence(of.source)} Fidelity: {of.fidelity}."


def _sentence(text: str) -> str:
    """Return a text as a sentence."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
