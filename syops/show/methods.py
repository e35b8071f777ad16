"""Write the sentences of a paper that say what was counted, and how."""

from __future__ import annotations

import re
from collections.abc import Iterator

from syops.cost.conventions import Convention
from syops.cost.energy import EnergyModel
from syops.cost.figures import Figures
from syops.ops.kinds import KINDS
from syops.units import joules, quantity

_GRADED = {
    "mac": "a layer that gets integers other than spikes performs MACs",
    "ac": "a layer that gets integers performs as many ACs as their magnitude",
    "spikes": "a layer that gets integers performs one AC for each that is not zero",
}
_NORMS = {
    "folded": "normalisations that can be folded into the layers beside them cost nothing, others "
    "2 MACs per element",
    "counted": "every normalisation costs 2 MACs per element",
    "free": "normalisations cost nothing",
}


def methods(report: Figures) -> str:
    """Return a paragraph for the methods section of a paper, and BibTeX of the sources."""
    sentences = (f"{sentence[0].upper()}{sentence[1:]}." for sentence in _sentences(report))
    return "\n\n".join((" ".join(sentences), *_bibtex(report))) + "\n"


def _sentences(report: Figures) -> Iterator[str]:
    convention = report.convention
    with_ = f"syops {report.versions.get('syops', '')}".strip()
    torch = report.versions.get("torch")
    with_ += f" on PyTorch {torch}" if torch else ""
    shape = " x ".join(map(str, report.input_shape))
    steps = "" if report.time_steps is None else f" and T = {report.time_steps} time-steps"
    data = f"in {report.samples} samples" if report.measured else "without data"
    counted = f"synaptic operations of {report.model} were counted with {with_}"
    yield f"{counted} {data}, inputs of {shape}{steps}"
    source = f" ({convention.source})" if convention.source else ""
    yield f"we follow the convention {convention.name!r}{source}"
    yield from _rules(convention)
    inside = ", ".join(kind for kind in KINDS if kind in report.kinds)
    yield f"the totals are those of rows of these kinds: {inside}; memory accesses are not in them"
    for model in report.energy.models:
        yield _price(model)
    if report.measured and report.priced_ac is not None and report.dc_mj is not None:
        yield (
            f"per sample there are {quantity(report.priced_ac)} ACs and {quantity(report.mac)} "
            f"MACs, {joules(report.dc_mj)}"
        )
    if not report.complete:
        yield f"the totals are incomplete: there is no rule for {', '.join(report.unaccounted)}"


def _rules(convention: Convention) -> Iterator[str]:
    if convention.counter != "syops":
        yield f"what counts as a spike is decided as {convention.counter} does: {convention.scope}"
        return
    if convention.ac == "events":
        yield "an AC is one synapse that one spike reaches"
    else:
        yield "the ACs of a layer are its firing rate times its dense operations"
    yield f"a layer that gets real numbers performs MACs; {_GRADED[convention.graded]}"
    yield _NORMS[convention.norms]
    if convention.repeats == "once":
        yield "MACs on the values of the time-step before are counted once"
    if convention.pairs == "min":
        yield "a product of two spike tensors is counted at the lesser of their firing rates"
    if convention.saturated == "mac":
        yield "a layer at a firing rate of 100 % performs MACs"


def _price(model: EnergyModel) -> str:
    mac = "has no price" if model.e_mac_pj is None else f"costs {model.e_mac_pj:g} pJ"
    about = ", ".join(filter(None, (model.technology, model.source)))
    told = f" ({about})" if about else ""
    return f"an AC costs {model.e_ac_pj:g} pJ and a MAC {mac}{told}"


def _bibtex(report: Figures) -> Iterator[str]:
    if report.convention.bibtex:
        yield report.convention.bibtex.strip()
    for model in report.energy.models:
        if model.source:
            key = re.sub(r"\W+", "-", model.name).strip("-")
            yield f"@misc{{{key},\n  note = {{{model.source}}}\n}}"
