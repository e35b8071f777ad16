"""Which networks are trained, and what is kept of each: one JSON file a run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import TensorDataset

from syops import create_model
from syops.demo.measure import measure
from syops.files import write_text, write_whole
from syops.models import attach_aap, detach_aap, zero_init_residual
from syops.training import (
    Recipe,
    digit_events,
    digits,
    fit,
    get_recipe,
    probe_blocks,
    seed_everything,
)


@dataclass(frozen=True)
class Variant:
    """A network to train: ``dst`` with an AAP around it, which is taken off at the end."""

    network: str
    g: str | None = None
    dst: bool = False

    @property
    def label(self) -> str:
        kind = self.network.removesuffix("_digits")
        return "-".join([kind, *([self.g] if self.g else []), *(["DST"] if self.dst else [])])


SPIKING, SPIKING_DST = Variant("spiking_digits"), Variant("spiking_digits", dst=True)
FSNN = {"OR": Variant("fsnn_digits", "OR")}
DST = {g: Variant("fsnn_digits", g, dst=True) for g in ("AND", "OR", "XOR", "IAND")}
SEW = {g: Variant("sew_digits", g) for g in ("ADD", "IAND")}
VARIANTS = (
    *(DST["IAND"], DST["OR"], SEW["ADD"], SEW["IAND"], FSNN["OR"]),
    *(SPIKING, SPIKING_DST, DST["AND"], DST["XOR"]),
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

    @property
    def key(self) -> str:
        size = f"{self.blocks}x{self.channels}"
        start = "-identity" if self.identity else ""
        return f"{self.data}-{self.variant.label}-{size}{start}-seed{self.seed}"


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
        initial: blocks of the networks of Figures 6 to 8; 24 make 50 layers.
    """

    seeds: int
    images: Size
    events: Size
    depths: tuple[int, ...]
    deep: Size
    starts: tuple[bool, ...]
    initial: int


FULL = Scale(
    seeds=3,
    images=Size(8, 16, 12),
    events=Size(4, 8, 10),
    depths=(4, 8, 16, 32),
    deep=Size(8, 8, 8),
    starts=(True, False),
    initial=24,
)
FAST = Scale(
    seeds=1,
    images=Size(4, 8, 2),
    events=Size(2, 4, 1),
    depths=(4, 12),
    deep=Size(4, 8, 4),
    starts=(True,),
    initial=12,
)


def plan(scale: Scale) -> list[Run]:
    """All runs, the most important first. Table 3 shares its runs with Table 2."""
    images, recorded = get_recipe("digits"), get_recipe("digit-events")
    runs = [*_of_tables("digits", scale.images, images, scale.seeds)]
    for start in scale.starts:
        runs += _of_figure3(scale, start)
    runs += _of_tables("digit-events", scale.events, recorded, scale.seeds)
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


@cache
def data(name: str, T: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training set and test set. Recording events takes a while, so once a process."""
    return digit_events(T) if name == "digit-events" else digits()


def perform(run: Run, folder: Path) -> str:
    """Train, count and probe; leaves ``runs/KEY.json`` and ``weights/KEY.safetensors``."""
    torch.set_num_threads(1)  # sums in another order would train another network
    events = run.data == "digit-events"
    train, test = data(run.data, run.recipe.T)
    keywords: dict[str, Any] = {"blocks": run.blocks, "channels": run.channels, "T": run.recipe.T}
    if run.variant.g:
        keywords["g"] = run.variant.g
    if events:
        keywords["in_channels"] = 2
    seed_everything(run.seed)
    network = create_model(run.variant.network, **keywords)
    if run.variant.dst:
        network = attach_aap(network)
    if run.identity:
        zero_init_residual(network)
    start = time.perf_counter()
    epochs = fit(
        network, TensorDataset(*train), TensorDataset(*test), run.recipe,
        name=run.key, seed=run.seed, events=events,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    deployed = detach_aap(network) if run.variant.dst else network
    x, y = (test[0].transpose(0, 1), test[1]) if events else test
    batches = list(zip(x.split(50, 1 if events else 0), y.split(50), strict=True))
    rows = [measure("deployed", deployed, batches, events=events)]
    if run.variant.dst:
        rows.append(measure("with AAP", network, batches, events=events))
    content = {
        "key": run.key,
        "run": {**asdict(run), "label": run.variant.label},
        "keywords": keywords,
        "torch": torch.__version__,
        "seconds": round(seconds, 1),
        "epochs": [{"loss": epoch.loss, "accuracy": epoch.accuracy} for epoch in epochs],
        "rows": [row._asdict() for row in rows],
        "blocks": [asdict(block) for block in probe_blocks(deployed, x, y, training=False)],
    }
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    for part in ("weights", "runs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    write_whole(
        folder / "weights" / f"{run.key}.safetensors", lambda path: save_file(weights, path)
    )
    write_text(folder / "runs" / f"{run.key}.json", json.dumps(content, indent=1) + "\n")
    return f"{run.key}: {rows[-1].accuracy:.1%} in {seconds:.0f} s"


def perform_all(runs: list[Run], folder: Path, jobs: int, tell: Callable[[str], object]) -> None:
    """Whatever is missing, in ``jobs`` processes of one thread each."""
    todo = [run for run in runs if not (folder / "runs" / f"{run.key}.json").exists()]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(perform, run, folder) for run in todo]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                tell(f"[{done}/{len(todo)}] {future.result()}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
