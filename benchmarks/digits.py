"""The method of the paper on scikit-learn's handwritten digits, as images and as events.

    python benchmarks/digits.py            'train', 'probe' and 'report'
    python benchmarks/digits.py train      networks, seeds, depths: one JSON file a run
    python benchmarks/digits.py probe      rates and gradients before training
    python benchmarks/digits.py report     Tables 2 and 3, Figures 3 and 5 to 8, the claims
    python benchmarks/digits.py ship       weights, test set and model card into syops/models/demo
    python benchmarks/digits.py verify     train what is shipped anew, and compare it bit for bit

What is there already is not done again. Two processes of one thread each are about right for two
cores; --fast is a small version that shows no more than the direction.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pandas as pd
from click.core import ParameterSource
from digit_study import claims, figures, tables
from digit_study import ship as shipping
from digit_study.initial import probe_initial
from digit_study.runs import FAST, FULL, Scale, missing, perform_all, plan

from syops import SyopsError
from syops.files import write_text

ROOT = Path(__file__).parent
HELP = __doc__.replace("\n\n    ", "\n\n\b\n    ", 1)
NOTES = {
    "digits": "Digits, 8x8 pixels",
    "digit-events": "Digit events, 16x16 pixels",
}


@dataclass(frozen=True)
class Study:
    """Where results go and how much there is to do."""

    folder: Path
    jobs: int
    scale: Scale

    def train(self) -> None:
        perform_all(missing(plan(self.scale), self.folder), self.folder, self.jobs, click.echo)

    def probe(self) -> None:
        path = self.folder / "initial.json"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            found = pd.DataFrame(probe_initial(self.scale.seeds))
            write_text(path, found.to_json(orient="split", index=False, double_precision=8) + "\n")

    def load(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Of all runs; see `tables.load`. Raises `SyopsError` if results are missing."""
        runs = [run.files(self.folder)[0] for run in plan(self.scale)]
        lacking = [path for path in (*runs, self.folder / "initial.json") if not path.exists()]
        if lacking:
            raise SyopsError(
                f"{len(lacking)} results are missing, {lacking[0]} for one: run 'train' and 'probe'"
            )
        return tables.load(runs)

    def report(self) -> list[claims.Claim]:
        """Write CSV files, figures and ``report.md``; returns the claims.

        Raises:
            SyopsError: results are missing.
        """
        rows, of_blocks, probes = self.load()
        initial = pd.read_json(self.folder / "initial.json", orient="split")
        found: list[claims.Claim] = []
        parts = []
        for data in ("digits", "digit-events"):
            size = self.scale.images if data == "digits" else self.scale.events
            blocks, channels = size.blocks, size.channels
            table2 = self._table(f"table2-{data}", tables.table2(rows, data, blocks, channels))
            table3 = self._table(f"table3-{data}", tables.table3(rows, data, blocks, channels))
            title = f"{NOTES[data]}: {blocks} blocks, {channels} channels"
            parts += [f"## {title}\n", tables.readable2(table2), tables.readable3(table3)]
            figure5 = self._table(
                f"figure5-{data}", tables.figure5(of_blocks, data, blocks, channels)
            )
            figures.draw_rates(figure5, self.folder / f"figure5-{data}.png")
            found += [*claims.of_table2(table2, data), *claims.of_table3(table3, data)]
            found += claims.of_rates(figure5, f"trained on {data}")
            both = self._table(f"readings-{data}", tables.readings(rows, data, blocks, channels))
            parts += ["### A classifier for both streams, or one for each\n"]
            parts += [tables.readable_readings(both)]
            found += claims.of_readings(both, data)
        deep = tables.at_depth(rows, self.scale.depths[-2:], self.scale.deep.channels)
        parts += ["## Deep networks whose blocks start as the identity\n"]
        parts += [tables.readable_depth(self._table("depth", deep))]
        of_training = tables.gradients_of_training(probes)
        parts += ["### Gradients of the loss by s_l, before and after training\n"]
        parts += [tables.readable_gradients(self._table("gradients", of_training))]
        found += claims.of_training(of_training)
        figure3 = self._table("figure3", tables.figure3(rows, self.scale.deep.channels))
        figures.draw_figure3(figure3, self.folder / "figure3.png")
        found += claims.of_figure3(figure3)
        figure6 = self._table("figure6", tables.figure6(initial))
        figures.draw_rates(figure6, self.folder / "figure6.png")
        found += claims.of_rates(figure6, "initial")
        for number, alpha in ((7, 2.0), (8, 3.0)):
            figure = self._table(f"figure{number}", tables.gradients(initial, alpha))
            figures.draw_gradients(figure, self.folder / f"figure{number}.png")
            found += claims.of_gradients(figure, alpha)
        parts += ["## What the paper claims, and what was seen\n", claims.readable(found)]
        content = [{**claim.__dict__} for claim in found]
        write_text(self.folder / "claims.json", json.dumps(content, indent=1) + "\n")
        write_text(self.folder / "report.md", "\n".join(["# Digits\n", *parts]) + "\n")
        return found

    def _table(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        write_text(self.folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
        return table


@click.group(invoke_without_command=True, help=HELP, context_settings={"show_default": True})
@click.option("--folder", type=click.Path(path_type=Path), default=ROOT / "results" / "digits",
              show_default="results/digits beside this file", help="For results.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), default=2, help="Processes.")
@click.option("--fast", is_flag=True, help="A small version; needs a --folder of its own.")
@click.pass_context
def main(context: click.Context, folder: Path, jobs: int, fast: bool) -> None:
    if fast and context.get_parameter_source("folder") is ParameterSource.DEFAULT:
        raise click.UsageError("--fast needs a --folder, so that it does not mix with the whole")
    context.obj = Study(folder, jobs, FAST if fast else FULL)
    if context.invoked_subcommand is None:
        context.obj.train()
        context.obj.probe()
        told(context.obj.report())


def told(found: list[claims.Claim]) -> None:
    for claim in found:
        verdict = "holds  " if claim.holds else "DIFFERS"
        click.echo(f"{verdict} {claim.name.partition(':')[0]}: {claim.text}: {claim.seen}")


@main.command()
@click.pass_obj
def train(study: Study) -> None:
    """Train what has not been trained."""
    study.train()


@main.command()
@click.pass_obj
def probe(study: Study) -> None:
    """Measure networks of 50 layers before training."""
    study.probe()


@main.command()
@click.pass_obj
def report(study: Study) -> None:
    """Write tables and figures of what has been measured."""
    told(study.report())


@main.command()
@click.pass_obj
def ship(study: Study) -> None:
    """Put the weights of seed 0 and the test set into the package."""
    rows, *_ = study.load()
    runs = missing(shipping.shipped(), study.folder, weights=True)
    perform_all(runs, study.folder, study.jobs, click.echo)
    size = study.scale.images
    shipping.ship_demo(
        study.folder, rows, tables.table2(rows, "digits", size.blocks, size.channels)
    )


@main.command()
@click.pass_obj
def verify(study: Study) -> None:
    """Train what is shipped anew, and compare it bit for bit."""
    shipping.verify(click.echo, study.jobs, study.folder)


if __name__ == "__main__":
    try:
        main(standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"digits: error: {error.format_message()}", err=True)
        sys.exit(2)
    except SyopsError as error:
        click.echo(f"digits: error: {error}", err=True)
        sys.exit(2)
