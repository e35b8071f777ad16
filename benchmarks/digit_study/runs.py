"""Which networks are trained, and what is kept of each: one JSON file a run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from syops import create_model
from syops.dst import (
    Recipe,
    digit_events,
    digits,
    fit,
    get_recipe,
    probe_blocks,
    seed_everything,
)
from syops.files import write_text, write_whole
from syops.models import attach_aap, detach_aap, zero_init_residual
from syops.models.demo.measure import measure

BATCH = 50
"""Samples that are tested and counted at once."""


@dataclass(frozen=True)
class Variant:
    """A network to train: ``dst`` with an AAP around it, which is taken off at the end.

    ``classifier``: of the accumulated stream, as `attach_aap` takes it.
    """

    network: str
    g: str | None = None
    dst: bool = False
    classifier: str = "shared"

    @property
    def label(self) -> str:
        kind = self.network.removesuffix("_digits")
        own = ["separate"] if self.classifier == "separate" else []
        return "-".join([kind, *([self.g] if self.g else []), *(["DST"] if self.dst else []), *own])


SPIKING, SPIKING_DST = Variant("spiking_digits"), Variant("spiking_digits", dst=True)
FSNN = {"OR": Variant("fsnn_digits", "OR")}
DST = {g: Variant("fsnn_digits", g, dst=True) for g in ("AND", "OR", "XOR", "IAND")}
SEW = {g: Variant("sew_digits", g) for g in ("ADD", "IAND")}
SEPARATE = tuple(replace(dst, classifier="separate") for dst in (*DST.values(), SPIKING_DST))
VARIANTS = (
    *(DST["IAND"], DST["OR"], SEW["ADD"], SEW["IAND"], FSNN["OR"]),
    *(SPIKING, SPIKING_DST, DST["AND"], DST["XOR"]),
    *SEPARATE,
)
"""The rows of Tables 2 and 3. SEW with g = IAND is FSNN without DST: the same blocks."""


@dataclass(frozen=True)
class Run:
    """One training."""

    data: str
    variant: Variant
    blocks: int
    channels: int
    recipe: Recipe
    seed: int
    identity: bool = False
    """Every block starts as the identity on spikes (§4.2)."""
    idea: str = ""
    """What is done differently at depth; see `IDEAS`."""

    @property
    def of_events(self) -> bool:
        return self.data == "digit-events"

    @property
    def keywords(self) -> dict[str, Any]:
        """Of `create_model`."""
        found: dict[str, Any] = {
            "blocks": self.blocks, "channels": self.channels, "T": self.recipe.T
        }  # fmt: skip
        if self.variant.g:
            found["g"] = self.variant.g
        return {**found, "in_channels": 2} if self.of_events else found

    @property
    def key(self) -> str:
        size = f"{self.blocks}x{self.channels}"
        start = "-identity" if self.identity else ""
        idea = f"-{self.idea}" if self.idea else ""
        return f"{self.data}-{self.variant.label}-{size}{start}{idea}-seed{self.seed}"

    def files(self, folder: Path) -> tuple[Path, Path]:
        """What came out, and the weights, which the repository does not keep."""
        return folder / "runs" / f"{self.key}.json", folder / "weights" / f"{self.key}.safetensors"


IDEAS: dict[str, dict[str, Any]] = {
    "long": {"epochs": 24},
    "falling": {"streams": "falling"},
    "warm-up": {"streams": "warm-up"},
}
"""One change of the recipe each, tried on deep networks with a classifier for each stream."""


@dataclass(frozen=True)
class Size:
    """Of a network, and how long it is trained."""

    blocks: int
    channels: int
    epochs: int


@dataclass(frozen=True)
class Scale:
    """How much is trained: everything that the README shows, or enough to see the direction.

    Attributes:
        seeds: trainings of each network.
        images, events: the networks of Tables 2 and 3.
        depths: blocks of the networks of Figure 3, which are as wide and long trained as ``deep``.
        starts: whether their blocks start as the identity, or as usual.
        ideas: what is tried on the two deepest of them, of `IDEAS`.
    """

    seeds: int
    images: Size
    events: Size
    depths: tuple[int, ...]
    deep: Size
    starts: tuple[bool, ...]
    ideas: tuple[str, ...] = ()


FULL = Scale(
    seeds=3,
    images=Size(8, 16, 12),
    events=Size(4, 8, 10),
    depths=(4, 8, 16, 32),
    deep=Size(8, 8, 8),
    starts=(True, False),
    ideas=tuple(IDEAS),
)
FAST = Scale(
    seeds=1,
    images=Size(4, 8, 2),
    events=Size(2, 4, 1),
    depths=(4, 12),
    deep=Size(4, 8, 4),
    starts=(True,),
)


def plan(scale: Scale) -> list[Run]:
    """All runs, the most important first. Table 3 shares its runs with Table 2."""
    images, recorded = get_recipe("digits"), get_recipe("digit-events")
    runs = [*_of_tables("digits", scale.images, images, scale.seeds)]
    for start in scale.starts:
        runs += _of_figure3(scale, start)
    runs += _of_tables("digit-events", scale.events, recorded, scale.seeds)
    if scale.ideas:
        runs += _of_depth(scale)
    return list(dict.fromkeys(runs))


def _of_tables(data: str, size: Size, recipe: Recipe, seeds: int) -> Iterator[Run]:
    recipe = replace(recipe, epochs=size.epochs)
    for variant in VARIANTS:
        for seed in range(seeds):
            yield Run(data, variant, size.blocks, size.channels, recipe, seed)


def _of_figure3(scale: Scale, identity: bool) -> Iterator[Run]:
    recipe = replace(get_recipe("digits"), epochs=scale.deep.epochs)
    for depth in scale.depths:
        for variant in (SPIKING, SPIKING_DST):
            for seed in range(scale.seeds):
                yield Run("digits", variant, depth, scale.deep.channels, recipe, seed, identity)


def _of_depth(scale: Scale) -> Iterator[Run]:
    """What might let the deployed network gain from DST where it is deep, and what it is held to.

    Blocks start as the identity. ``long`` is done without DST, too, or more epochs would pass for
    a merit of DST.
    """
    recipe = replace(get_recipe("digits"), epochs=scale.deep.epochs)
    separate = replace(SPIKING_DST, classifier="separate")
    tried = [(separate, "", recipe)]
    for idea in scale.ideas:
        tried.append((separate, idea, replace(recipe, **IDEAS[idea])))
    long = replace(recipe, **IDEAS["long"])
    tried += [(SPIKING, "long", long), (SPIKING_DST, "long", long)]
    for seed in range(scale.seeds):
        for depth in scale.depths[-2:]:
            for variant, idea, changed in tried:
                yield Run(
                    "digits", variant, depth, scale.deep.channels, changed, seed, True, idea
                )  # fmt: skip


@cache
def data(name: str, T: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training set and test set. Recording events takes a while, so once a process."""
    return digit_events(T) if name == "digit-events" else digits()


def perform(run: Run, folder: Path) -> str:
    """Train, count and probe; leaves the `Run.files`."""
    torch.set_num_threads(1)  # sums in another order would train another network
    train, test = data(run.data, run.recipe.T)
    seed_everything(run.seed)
    network = made(run)
    before = gradients(run, network, *train)
    start = time.perf_counter()
    epochs = fit(
        network, TensorDataset(*train), TensorDataset(*test), run.recipe,
        name=run.key, seed=run.seed, events=run.of_events,
    )  # fmt: skip
    content = {
        "key": run.key,
        "run": {**asdict(run), "label": run.variant.label},
        "keywords": run.keywords,
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),  # rounding depends on it
        "seconds": round(time.perf_counter() - start, 1),
        "epochs": [{"loss": epoch.loss, "accuracy": epoch.accuracy} for epoch in epochs],
        **tested(run, network, *test),
        "gradients": {"before": before, "after": gradients(run, network, *train)},
    }
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    result, state = run.files(folder)
    for path in (result, state):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(state, lambda path: save_file(weights, path))
    write_text(result, json.dumps(content, indent=1) + "\n")
    return f"{run.key}: {content['rows'][-1]['accuracy']:.1%} in {content['seconds']:.0f} s"


def made(run: Run) -> nn.Module:
    """The network, before training."""
    network = create_model(run.variant.network, **run.keywords)
    if run.variant.dst:
        network = attach_aap(network, classifier=run.variant.classifier)
    if run.identity:
        zero_init_residual(network)
    return network


def gradients(run: Run, network: nn.Module, x: Tensor, y: Tensor) -> list[float]:
    """The norms of dL/ds_l, block by block, of the first samples that it trains on."""
    x, y = x[:BATCH], y[:BATCH]
    blocks = probe_blocks(network, x.transpose(0, 1) if run.of_events else x, y)
    return [block.gradient for block in blocks]


STORED = {
    "network": "name", "accuracy": "accuracy", "T": "time_steps", "ec_mj": "ec_mj", "o_ac": "ac",
    "o_mac": "mac", "dc_mj": "dc_mj",
}  # fmt: skip
"""How the results in this repository name the fields of a `MeasuredNetwork` of the demo."""


def tested(run: Run, network: nn.Module, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Accuracy, counts and firing rates on the test set, without the AAP and with it."""
    if run.of_events:
        x = x.transpose(0, 1)
    deployed = detach_aap(network) if run.variant.dst else network
    pairs = zip(x.split(BATCH, 1 if run.of_events else 0), y.split(BATCH), strict=True)
    batches = list(pairs)
    rows = [measure("deployed", deployed, batches, events=run.of_events)]
    if run.variant.dst:
        rows.append(measure("with AAP", network, batches, events=run.of_events))
    return {
        "rows": [{key: getattr(row, field) for key, field in STORED.items()} for row in rows],
        "blocks": [asdict(block) for block in probe_blocks(deployed, x, y, training=False)],
    }


def missing(runs: Iterable[Run], folder: Path, weights: bool = False) -> list[Run]:
    """Return the runs that have not been done, or with ``weights`` those without weights."""
    return [run for run in runs if not run.files(folder)[weights].exists()]


def perform_all(todo: list[Run], folder: Path, jobs: int, tell: Callable[[str], object]) -> None:
    """Train in ``jobs`` processes of one thread each."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(perform, run, folder) for run in todo]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                tell(f"[{done}/{len(todo)}] {future.result()}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
