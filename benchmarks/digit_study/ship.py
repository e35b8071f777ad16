"""What ``syops demo`` needs, written into syops/models/demo: weights, a test set, a model card."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import syops.models.demo
from digit_study.runs import DST, FULL, SEW, Run, Variant, perform_all, plan
from digit_study.tables import ROWS
from syops import SyopsError, create_model
from syops.dst import Recipe, digits
from syops.files import write_text, write_whole
from syops.models import detach_aap

TARGET = Path(syops.models.demo.__file__).parent
NAMES = {"fsnn_digits": "FSNN (IAND, DST)", "dsnn_digits": "DSNN (IAND)", "sew_digits": "SEW (ADD)"}
"""What is shipped, and its row of Table 2."""

CARD = """# Weights of `fsnn_digits`, `dsnn_digits` and `sew_digits`

**Data:** the 1,797 handwritten digits of scikit-learn (`load_digits`), 8x8 pixels in 17 shades of
grey: the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI
Machine Learning Repository, doi:10.24432/C50P49, CC BY 4.0. 1,347 train, and 450, in `digits.npz`,
test; the split is that of `syops.dst.digits`.

**Networks:** as `create_model` makes them without keywords: {blocks} blocks, {channels} channels,
T = {T}, IF neurons; g = IAND, in `sew_digits` ADD.

**Training:** {epochs} epochs, batch {batch}, SGD with momentum 0.9, learning rate {lr}, cosine
schedule, gradient clipped to the norm {clip}, seed 0, no augmentation; the last epoch counts, none
was chosen. `fsnn_digits` and `dsnn_digits` are one training by DST, Eq. (12): the first is the
second without its auxiliary accumulation pathway. The accuracy of `dsnn_digits` is that of its
accumulated stream.

**Accuracy on the test set** (one digit is 0.2 %):

| weights | these, seed 0 | {seeds} seeds, mean ± standard deviation |
|---|--:|--:|
{rows}

**Commands:** `python benchmarks/digits.py train`, then `ship`. One network by itself:

    OMP_NUM_THREADS=1 python examples/train_dst.py --dataset digits --model fsnn_digits \\
        --classifier shared --folder DIR

`python benchmarks/digits.py verify` trains them anew and compares the weights bit for bit; on
another processor sums may be rounded in another order, and a network that is as good comes out. The
spread above tells how much trainings differ.

**Choice:** g = IAND and one classifier for both streams, because of all FSNN by DST whose mean
accuracy three seeds cannot tell from the best one's it needs the least energy
(`digit_study.tables.demo_row`); seed 0, whatever came out of it. The means are of the test images,
so that the choice has seen them.

**Use:** to see what syops prints for trained networks on real data, and to test it. They read 8x8
digits of this one data set, nothing else.
"""


def ship_demo(folder: Path, rows: pd.DataFrame, table: pd.DataFrame) -> None:
    """Write what is shipped.

    Args:
        folder: the results, with the weights of what is `shipped`.
        rows: all of them, and ``table``, Table 2 of the digits.
    """
    dst, _ = shipped()
    for name, state in states(folder).items():
        _save(name, state)
    _, (images, labels) = digits()
    content = {
        "images": (16 * images[:, 0]).round().to(torch.uint8).numpy(),
        "labels": labels.to(torch.uint8).numpy(),
    }
    write_whole(TARGET / "digits.npz", lambda path: _savez(path, content))
    write_text(TARGET / "MODEL_CARD.md", card(dst.recipe, rows, table))


def shipped() -> list[Run]:
    """Return the trainings that the shipped weights are of."""
    runs = [run for run in plan(FULL) if run.seed == 0]
    return [_run_of(runs, variant) for variant in (DST["IAND"], SEW["ADD"])]


def states(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Return the weights of all that is shipped, from those of the trainings in ``folder``."""
    dst, sew = shipped()
    dsnn = create_model(
        "dsnn_digits", weights=dst.files(folder)[1], classifier=dst.variant.classifier
    )
    networks = {
        "dsnn_digits": dsnn,
        "fsnn_digits": detach_aap(dsnn),
        "sew_digits": create_model("sew_digits", weights=sew.files(folder)[1]),
    }
    return {name: network.state_dict() for name, network in networks.items()}


def verify(tell: Callable[[str], object], jobs: int, folder: Path) -> None:
    """Train what is shipped anew, and compare it bit for bit.

    Args:
        tell: is told what is the same.
        jobs: processes.
        folder: of the results, whose figures are compared, too.

    Raises:
        SyopsError: something differs.
    """
    with TemporaryDirectory() as name:
        again = Path(name)
        perform_all(shipped(), again, jobs, tell)
        differing = []
        for network, state in states(again).items():
            stored = load_file(TARGET / f"{network}.safetensors")
            same = stored.keys() == state.keys() and all(
                torch.equal(stored[key], state[key]) for key in stored
            )
            tell(f"{network}: {'the same' if same else 'other'} weights, bit for bit")
            differing += [] if same else [network]
        for run in shipped():
            old, new = (json.loads(run.files(of)[0].read_text()) for of in (folder, again))
            same = all(old[part] == new[part] for part in ("epochs", "rows"))
            tell(f"{run.key}: {'the same' if same else 'other'} losses and figures")
            differing += [] if same else [run.key]
    if differing:
        raise SyopsError(
            f"not reproduced: {', '.join(differing)}; other processors and versions of torch round "
            "sums in another order"
        )


def card(recipe: Recipe, rows: pd.DataFrame, table: pd.DataFrame) -> str:
    """The model card: accuracies as they were measured."""
    of = table.set_index("network")
    lines = []
    for name, row in NAMES.items():
        label, aap = next(key for key, value in ROWS.items() if value == row)
        own = rows[
            (rows["data"] == "digits") & (rows["label"] == label) & (rows["aap"] == aap)
            & (rows["seed"] == 0) & ~rows["identity"]
        ]["accuracy"].item()  # fmt: skip
        mean, sd = 100 * of.loc[row, "accuracy"], 100 * of.loc[row, "accuracy_sd"]
        lines.append(f"| `{name}` | {own:.1%} | {mean:.1f} ± {sd:.1f} % |")
    return CARD.format(
        blocks=FULL.images.blocks, channels=FULL.images.channels, T=recipe.T, epochs=recipe.epochs,
        batch=recipe.batch_size, lr=recipe.lr, clip=recipe.clip,
        seeds=of.loc[row, "seeds"], rows="\n".join(lines),
    )  # fmt: skip


def _run_of(runs: Iterable[Run], variant: Variant) -> Run:
    size = FULL.images.blocks, FULL.images.channels
    return next(
        run for run in runs
        if (run.data, run.variant, (run.blocks, run.channels)) == ("digits", variant, size)
    )  # fmt: skip


def _save(name: str, state: dict[str, Tensor]) -> None:
    weights = {key: value.contiguous() for key, value in state.items()}
    write_whole(TARGET / f"{name}.safetensors", lambda path: save_file(weights, path))


def _savez(path: Path, content: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # by its name, numpy would add an ending
        np.savez_compressed(file, **content)
