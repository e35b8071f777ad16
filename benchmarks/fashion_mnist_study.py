"""The networks of Table 2 on Fashion-MNIST, narrow ones of 18 layers, one seed each.

    python benchmarks/fashion_mnist_study.py train    half an hour of one core
    python benchmarks/fashion_mnist_study.py report   the table of docs/fashion_mnist.md
    python benchmarks/fashion_mnist_study.py ship     the best weights, for the demo
    python benchmarks/fashion_mnist_study.py verify   train what is shipped anew, and compare it

Stopped, 'train' goes on after the last epoch that was finished; what is done is not done again.
Several may run at once, with networks of their own: 'train fsnn ann'.
Of the 60,000 images the last 5,000 are for validation: nothing is chosen by the test images, which
each network sees once, when it is counted. The data is Debian's package dataset-fashion-mnist: as
installed, or downloaded into the folder of the results.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from fashion_mnist import RECIPE as RECIPE_OF_CSNN
from fashion_mnist import data, split
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset

import syops.models.demo
from syops import SyopsError, create_model
from syops.dst import Epoch, fit, seed_everything
from syops.dst.checkpoint import NAME as CHECKPOINT
from syops.files import write_text, write_whole
from syops.models import attach_aap, detach_aap
from syops.models.demo.measure import measure
from syops.models.weights import load_weights

FOLDER = Path(__file__).parent / "results" / "fashion-mnist"
RECIPE = replace(RECIPE_OF_CSNN, epochs=2, batch_size=128)
VALIDATION = 5_000
TARGET = Path(syops.models.demo.__file__).parent
CARD = """# Weights of `fsnn18_small` and `dsnn18_small`

**Data:** Fashion-MNIST by Zalando SE, MIT licence, as Debian's package `dataset-fashion-mnist` has
it: 60,000 images of clothes to train, of which the last {validation:,} are for validation, and
10,000 to test, 28x28 pixels in grey, divided by 255. syops does not ship them.

**Networks:** as `create_model` makes them: 18 layers, 8 to 64 channels, T = {T}, IF neurons,
g = IAND.

**Training:** {epochs} epochs, batch {batch}, AdamW without weight decay, learning rate {lr},
cosine schedule, gradient clipped to the norm {clip}, seed 0, no augmentation; the last epoch
counts. Of the FSNN and of the DSNN that were trained (docs/fashion_mnist.md) these were the most
accurate on the validation images. The accuracy of a DSNN is that of its accumulated stream.

| weights | trained as | validation | test |
|---|---|--:|--:|
{rows}

**Commands:** `python benchmarks/fashion_mnist_study.py train`, then `ship`. `verify` trains these
anew and compares weights and figures bit for bit; on another processor sums may be rounded in
another order, and other networks come out.
"""
SHIPPED = {"fsnn18_small": "spike", "dsnn18_small": "accumulated"}
"""What is shipped, and by which stream's answers it is chosen."""
BATCH = 100
"""Images that are tested and counted at once."""


@dataclass(frozen=True)
class Run:
    """One training; with a ``classifier`` by DST, an AAP around the network."""

    key: str
    title: str
    network: str
    classifier: str | None = None
    seed: int = 0

    @property
    def with_aap(self) -> str:
        """The title of the network whose AAP is kept."""
        return self.title.replace("FSNN (DST", "DSNN (DST")

    def made(self) -> nn.Module:
        """Return the network, before training."""
        extra = {} if self.network == "resnet18_small" else {"T": RECIPE.T}
        network = create_model(self.network, **extra)
        return attach_aap(network, classifier=self.classifier) if self.classifier else network


RUNS = (
    Run("fsnn-dst-separate", "FSNN (DST, separate)", "fsnn18_small", "separate"),
    Run("fsnn", "FSNN", "fsnn18_small"),
    Run("ann", "ANN", "resnet18_small"),
    Run("sew-add", "SEW (ADD)", "sew_resnet18_small"),
    Run("fsnn-dst-shared", "FSNN (DST, shared)", "fsnn18_small", "shared"),
)
"""In the order in which they are trained."""
KEYS = [run.key for run in RUNS]


@dataclass(frozen=True)
class Study:
    """Where results, weights and checkpoints go."""

    folder: Path

    def result(self, run: Run) -> Path:
        return self.folder / "runs" / f"{run.key}.json"

    def weights(self, run: Run) -> Path:
        """Return the file of the weights, which the repository does not keep."""
        return self.folder / "weights" / f"{run.key}.safetensors"

    def train(self, keys: Collection[str]) -> None:
        """Train and count what has not been, of all runs or of those with these ``keys``."""
        torch.set_num_threads(1)  # sums in another order would train another network
        where = data(self.folder)
        images = split(where, "train")
        cut = len(images) - VALIDATION
        parts = Subset(images, range(cut)), Subset(images, range(cut, len(images)))
        test = split(where, "t10k")
        for run in RUNS:
            if run.key in (keys or KEYS) and not self.result(run).exists():
                self._perform(run, *parts, test)

    def _perform(self, run: Run, train: Subset, validation: Subset, test: TensorDataset) -> None:
        seed_everything(run.seed)
        network = run.made()
        folder = self.folder / "weights" / run.key

        def told(epoch: Epoch) -> None:
            shares = ", ".join(f"{stream} {of:.2%}" for stream, of in epoch.accuracy.items())
            print(f"{run.key}, epoch {epoch.epoch}: loss {epoch.loss:.3f}, {shares}", flush=True)

        epochs = fit(
            network, train, validation, RECIPE, name=run.key, seed=run.seed, folder=folder,
            resume=(folder / CHECKPOINT).exists(), on_epoch=told,
        )  # fmt: skip
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        write_whole(self.weights(run), lambda path: save_file(state, path))
        content = {
            **asdict(run),
            "recipe": asdict(RECIPE),
            "torch": torch.__version__,
            "cpu": torch.backends.cpu.get_cpu_capability(),  # rounding depends on it
            "epochs": [{"loss": each.loss, "validation": each.accuracy} for each in epochs],
            "rows": tested(run, network, test),
        }
        write_text(self.result(run), json.dumps(content, indent=1) + "\n")

    def report(self) -> None:
        """Write the table of what has been trained, and what has not been."""
        rows = [row for run in self._done() for row in self._rows(run)]
        if not rows:
            raise SyopsError("nothing has been trained: run 'train'")
        table = pd.DataFrame(rows)
        write_text(self.folder / "table.csv", table.to_csv(index=False, float_format="%.6g"))
        missing = [run.title for run in RUNS if run not in self._done()]
        text = "# Fashion-MNIST\n\n" + readable(table) + "\n"
        if missing:
            text += f"\nNot trained yet: {', '.join(missing)}.\n"
        write_text(self.folder / "report.md", text)
        print(text)

    def ship(self) -> None:
        """Put the FSNN and the DSNN that answer most validation images right into the package."""
        chosen = {}
        for name, stream in SHIPPED.items():
            run = self._best(stream)
            write_whole(stored(name), partial(save_file, self._state(run, stream)))
            row = next(row for row in self._rows(run) if row["stream"] == stream)
            chosen[name] = (run, row)
            print(f"{name}: {row['network']}, {self.weights(run)}")
        write_text(TARGET / "MODEL_CARD_FASHION_MNIST.md", card(chosen))

    def verify(self) -> None:
        """Train what is shipped anew, and compare weights, losses and figures bit for bit.

        Raises:
            SyopsError: something differs.
        """
        runs = {name: self._best(stream) for name, stream in SHIPPED.items()}
        differing = []
        with TemporaryDirectory() as folder:
            again = Study(Path(folder))
            again.prepare()
            again.train({run.key for run in runs.values()})
            for name, run in runs.items():
                old, new = load_file(stored(name)), again._state(run, SHIPPED[name])
                same = old.keys() == new.keys() and all(old[k].equal(new[k]) for k in old)
                print(f"{name}: {'the same' if same else 'other'} weights, bit for bit")
                differing += [] if same else [name]
            for run in set(runs.values()):
                old, new = (json.loads(of.result(run).read_text("utf-8")) for of in (self, again))
                same = all(old[part] == new[part] for part in ("epochs", "rows"))
                print(f"{run.title}: {'the same' if same else 'other'} losses and figures")
                differing += [] if same else [run.key]
        if differing:
            raise SyopsError(
                f"not reproduced: {', '.join(differing)}; other processors and versions of torch "
                "round sums in another order"
            )

    def prepare(self) -> None:
        """Make the folders."""
        for path in (self.folder / "runs", self.folder / "weights"):
            path.mkdir(parents=True, exist_ok=True)

    def _state(self, run: Run, stream: str) -> dict[str, Tensor]:
        """Return the weights of the network that gives a stream."""
        network = run.made()
        load_weights(network, self.weights(run))
        if stream == "spike" and run.classifier:
            network = detach_aap(network)
        return {key: value.contiguous() for key, value in network.state_dict().items()}

    def _done(self) -> list[Run]:
        return [run for run in RUNS if self.result(run).exists()]

    def _best(self, stream: str) -> Run:
        """Return the run of an FSNN or a DSNN with the best accuracy on the validation images."""
        found = [
            (row["validation"], run)
            for run in self._done()
            for row in self._rows(run)
            if row["stream"] == stream and run.network == "fsnn18_small"
        ]
        if not found:
            raise SyopsError("no FSNN has been trained: run 'train'")
        return max(found, key=lambda each: each[0])[1]

    def _rows(self, run: Run) -> list[dict[str, Any]]:
        """Return what the networks of a run answered and cost: without its AAP, and with it."""
        content = json.loads(self.result(run).read_text(encoding="utf-8"))
        validation = content["epochs"][-1]["validation"]
        rows = []
        for row, stream in zip(content["rows"], ("spike", "accumulated"), strict=False):
            named = {"network": row.pop("name"), "stream": stream, "validation": validation[stream]}
            low, high = row.pop("ec_mj")
            rows.append({**named, **row, "ec_min_mj": low, "ec_max_mj": high})
        return rows


def stored(name: str) -> Path:
    """Return the file of shipped weights."""
    return TARGET / f"{name}.safetensors"


def tested(run: Run, network: nn.Module, test: TensorDataset) -> list[dict[str, Any]]:
    """Accuracy and counts on the test images, without the AAP and, if there is one, with it."""
    x, y = test.tensors
    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    networks = {run.title: detach_aap(network) if run.classifier else network}
    if run.classifier:
        networks[run.with_aap] = network
    rows = []
    for title, each in networks.items():
        params = sum(parameter.numel() for parameter in each.parameters())
        rows.append({**measure(title, each, batches)._asdict(), "params": params})
    return rows


HEAD = (
    "network", "accuracy", "T", "parameters, k", "O_ac, k", "O_mac, k", "DC, µJ", "EC, µJ",
    "E(SNN)/E(ANN)",
)  # fmt: skip


def readable(table: pd.DataFrame) -> str:
    """The table in Markdown, energies in µJ and operations in thousands."""
    lines = [
        f"| {row.network} | {row.accuracy:.2%} | {row.time_steps} | {row.params / 1e3:.1f} | "
        f"{row.ac / 1e3:,.0f} | {row.mac / 1e3:,.1f} | {1e3 * row.dc_mj:.2f} | "
        f"{1e3 * row.ec_min_mj:.2f}..{1e3 * row.ec_max_mj:.2f} | {row.energy_ratio:.3f} |"
        for row in table.itertuples()
    ]
    return "\n".join([f"| {' | '.join(HEAD)} |", f"|---|{'--:|' * (len(HEAD) - 1)}", *lines])


def card(chosen: dict[str, tuple[Run, dict[str, Any]]]) -> str:
    """The model card of what is shipped: accuracies as they were measured."""
    lines = [
        f"| `{name}` | {row['network']} | {row['validation']:.2%} | {row['accuracy']:.2%} |"
        for name, (_, row) in chosen.items()
    ]
    return CARD.format(
        rows="\n".join(lines), validation=VALIDATION, T=RECIPE.T, epochs=RECIPE.epochs,
        batch=RECIPE.batch_size, lr=RECIPE.lr, clip=RECIPE.clip,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for results")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train what has not been trained")
    train.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(KEYS)}; all if none")
    commands.add_parser("report", help="write the table of what has been trained")
    commands.add_parser("ship", help="put the weights of the best FSNN and DSNN into the package")
    commands.add_parser("verify", help="train what is shipped anew, and compare it bit for bit")
    given = parser.parse_args()
    study = Study(given.folder.resolve())
    study.prepare()
    if given.command == "train":
        if unknown := set(given.runs) - set(KEYS):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; runs are {', '.join(KEYS)}")
        study.train(given.runs)
    elif given.command == "report":
        study.report()
    elif given.command == "ship":
        study.ship()
    else:
        study.verify()


if __name__ == "__main__":
    try:
        main()
    except SyopsError as error:
        print(f"fashion_mnist_study: error: {error}", file=sys.stderr)
        sys.exit(2)
