"""Define the options that commands share, and read their values."""

from __future__ import annotations

import ast
import math
import sys
from pathlib import Path
from typing import Any

import click

from syops import choices
from syops.cli.help import completes
from syops.cost.conventions import Convention, get_convention, list_conventions
from syops.cost.energy import Energy
from syops.cost.profiles import get_energy_model, list_energy_models
from syops.models.catalogue import list_models

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
GRAPH = ".nir"
"""What names of files end in that hold an NIR graph, which is run on [T, N, ...]."""


class Shape(click.ParamType):
    name = "shape"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        try:
            shape = tuple(int(size) for size in value.split(","))
        except ValueError:
            shape = ()
        if not shape or min(shape) < 1 or math.prod(shape) > sys.maxsize:
            self.fail(f"{value!r} is not a list of positive sizes such as 3,224,224.", param, ctx)
        return shape


class Real(click.FloatRange):
    """A real number in a range. "nan" is in none, whatever it is compared with."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class Keyword(click.ParamType):
    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        name, equals, literal = value.partition("=")
        if not (equals and name.isidentifier()):
            self.fail(f"{value!r} is not of the form NAME=VALUE.", param, ctx)
        try:
            return name, ast.literal_eval(literal)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return name, literal


class Declared(click.ParamType):
    """The name of a class of neurons, and what they send."""

    name = "class=signal"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, choices.Signal]:
        name, _, sent = value.rpartition("=")
        signal = next((each for each in choices.SIGNALS if each == sent), None)
        if not name or signal is None:
            known = ", ".join(choices.SIGNALS)
            self.fail(f"{value!r} is not CLASS=SIGNAL, with a signal of {known}.", param, ctx)
        return name, signal


MODEL = click.argument("model", shell_complete=completes(list_models))
KEYWORDS = click.option(
    "--set", "keywords", type=Keyword(), multiple=True, metavar="NAME=VALUE",
    help="Argument of MODEL, such as T=6 or g=OR; a Python literal or a string. Repeatable.",
)  # fmt: skip
NEURONS = click.option(
    "--neuron", "neurons", type=Declared(), multiple=True, metavar="CLASS=SIGNAL",
    help="What the neurons of a class of MODEL send, if they cannot be watched from inside or "
    "their values cannot be derived: analog, binary, ternary or graded, such as Leaky=binary. A "
    "run checks it. Repeatable.",
)  # fmt: skip
BATCH_DIM = click.option(
    "--batch-dim", default=0, metavar="DIM",
    help="Dimension of the input that counts samples; 1 for [T, N, ...].",
)  # fmt: skip
FOLD_BN = click.option(
    "--fold-bn/--no-fold-bn", default=None,
    help="Fold BatchNorms into the layers before or after them where that is possible, or count "
    "all of them as 2 MACs an element.  "
    "[default: as --convention says, which is to fold]",
)  # fmt: skip


FOLDED = click.option(
    "--fold-bn/--no-fold-bn", default=True,
    help="Fold BatchNorms into the layers before or after them where possible, or execute them.",
)  # fmt: skip


def _energy(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> Energy:
    """Return one profile for all layers, or one for each pattern and one for the rest."""
    rules = [value.rpartition("=") for value in values]
    patterns = {pattern: profile for pattern, equals, profile in rules if equals}
    rest = [profile for _, equals, profile in rules if not equals]
    if len(rest) > 1 or len(patterns) + len(rest) < len(values):
        raise click.BadParameter(f"{', '.join(values)}: one profile for each pattern", context)
    if not patterns:
        return get_energy_model(rest[0])
    return get_energy_model(patterns | ({"*": rest[0]} if rest else {}))


ENERGY = click.option(
    "--energy", multiple=True, default=["horowitz45-fp32"], metavar="PROFILE", callback=_energy,
    shell_complete=completes(lambda: (each.name for each in list_energy_models())),
    help="What the operations cost: a profile (see 'syops energy'), FILE.toml or FILE.toml:NAME. "
    "PATTERN=PROFILE is for the layers or the dtype of weights that match, such as "
    "layer1.*=horowitz45-int8. Repeatable; the first match counts.",
)  # fmt: skip
VALUES = click.option(
    "--values", is_flag=True,
    help="Also class each call by its values alone, as other tools do. Their conventions need it.",
)  # fmt: skip
MEMORY = click.option(
    "--memory", is_flag=True,
    help="Show reads and writes of memory instead of operations, and what they cost (SRAM at "
    "45 nm).",
)  # fmt: skip
BASELINES = click.option(
    "--baselines", is_flag=True,
    help="Show what the same network costs as an ANN in fp32, in int8 and in as few bits as T "
    "needs, and the firing rates below which the SNN costs less.",
)  # fmt: skip
NONZERO = click.option(
    "--nonzero", type=Real(0, 1), metavar="SHARE",
    help="With --baselines: the share of the ANN's activations that are not zero. Adds ANNs that "
    "skip zeros.",
)  # fmt: skip
ZEROS = click.option(
    "--zeros", is_flag=True,
    help="Measure zeros among inputs, weights and activations, and show the work that remains "
    "without them: NeuroBench's metrics. Takes longer.",
)  # fmt: skip
NEURON_RATES = click.option(
    "--neuron-rates", is_flag=True,
    help="Count the spikes of each neuron, and tell how often they fire: mean, quartiles, and the "
    "shares that never and always do.",
)  # fmt: skip
GRADED = click.option(
    "--graded", type=click.Choice(choices.GRADED),
    help="Count an integer that is not a spike as one MAC, or as as many ACs as its magnitude.  "
    "[default: as --convention says, which is mac]",
)  # fmt: skip


def _convention(context: click.Context, option: click.Parameter, value: str) -> Convention:
    return get_convention(value)


CONVENTION = click.option(
    "--convention", default="dst", metavar="NAME", callback=_convention,
    shell_complete=completes(lambda: (each.name for each in list_conventions())),
    help="What counts as an AC and what as a MAC: a convention (see 'syops conventions'), "
    "FILE.toml or FILE.toml:NAME.",
)  # fmt: skip
DEPTH = click.option(
    "--depth", type=click.IntRange(min=1), metavar="N",
    help="Add up the layers below N components of the module path.  [default: every layer]",
)  # fmt: skip
COLUMNS = click.option(
    "--columns", metavar="NAMES",
    help="Columns to show, separated by commas, such as layer,rate,O_ac,DC; or all.  [default: "
    "all in CSV, otherwise the main ones]",
)  # fmt: skip
SORT = click.option(
    "--sort", metavar="COLUMN", help="Sort by COLUMN, numbers from the largest.",
)  # fmt: skip
TOP = click.option(
    "--top", type=click.IntRange(min=1), metavar="N",
    help="Show the first N rows; of layers, without --sort, the most expensive ones.",
)  # fmt: skip
UNITS = click.option(
    "--units", multiple=True, metavar="UNIT",
    help="Show all counts in k, M, G or T, all energies in pJ, nJ, uJ, mJ or J. Repeatable, one "
    "for each.  [default: auto, what suits most values of a column]",
)  # fmt: skip
VERBOSE = click.option(
    "--verbose", is_flag=True,
    help="Show all sentences below a table, not only the first three. A file written with -o "
    "always has all.",
)  # fmt: skip
CAPTION = click.option(
    "--caption", metavar="LATEX",
    help="With --format latex: the caption, instead of the table's own.",
)  # fmt: skip
LABEL = click.option(
    "--label", metavar="NAME",
    help="With --format latex: the label that \\ref uses, such as tab:energy.",
)  # fmt: skip
NOTES = click.option(
    "--notes", metavar="LATEX",
    help="With --format latex: the text below the table, instead of its own sentences; '' for "
    "none. Warnings stay.",
)  # fmt: skip
OUTPUT = click.option(
    "-o", "--output", metavar="FILE", help="Write to FILE instead of standard output.",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
)  # fmt: skip
TIME_STEPS = click.option(
    "--time-steps", type=click.IntRange(1, 2**31 - 1), metavar="T",
    help="Simulation time-steps, for the ratio to the ANN.  [default: the model's attribute T]",
)  # fmt: skip
UNROLL = click.option(
    "--unroll", type=click.IntRange(0, 63), metavar="DIM",
    help="Call MODEL once for each slice of its first input along dimension DIM, each one "
    "time-step, with its states kept: 0 for [T, N, ...]. --batch-dim is a dimension of the slice.",
)  # fmt: skip
SHAPE = click.option(
    "--input-shape", "shape", type=Shape(), metavar="SIZES",
    help="Sizes of the input: one or three are those of a sample, such as C,H,W; two or more than "
    "three those of a batch, such as T,N,C,H,W with --batch-dim 1.  [default: 3,224,224, and for a "
    "bundled network what the paper feeds it]",
)  # fmt: skip
WEIGHTS = click.option(
    "--weights", type=FILE, metavar="FILE",
    help="State dict to load, from torch.save or .safetensors. Without it the weights are seeded "
    "random ones, and a bundled network's BatchNorms are calibrated on the input.",
)  # fmt: skip
INPUT = click.option(
    "--input", "input_path", type=FILE, metavar="FILE",
    help="A .npy, .npz or .pt file as the model takes it (several arrays: its arguments, by name "
    "or position), or an image, which is resized, cropped and normalised as for ImageNet. "
    "Default: the sample photograph that matplotlib ships.",
)  # fmt: skip
DATA = click.option(
    "--data", metavar="X",
    help="A data set, read batch by batch: a .npy, .npz or .pt file; a folder of images or of "
    "event clips (.npz), whose sub-folders are classes; an IDX file such as "
    "t10k-images-idx3-ubyte.gz, with its labels beside it; or package.module:callable that returns "
    "a loader. With labels, the accuracy is measured too.",
)  # fmt: skip
SEEN_SHAPE = click.option(
    "--input-shape", "shape", type=Shape(), metavar="C,H,W",
    help="What the image is made to fit: C,H,W or N,C,H,W with C 3, or 1 for grey. Any other shape "
    "gives seeded random values instead of the photograph; one size or three are those of a "
    "sample, two or more than three those of a batch, such as T,N,C,H,W.  [default: 3,224,224, and "
    "for a bundled network what the paper feeds it]",
)  # fmt: skip
_MEANING = (
    "Values of the input: real numbers, {0,1}, {-1,0,1}, integers, or whatever the data shows."
)
SEEN_SIGNAL = click.option(
    "--input-signal", type=click.Choice(choices.INPUT_SIGNALS), multiple=True, default=["auto"],
    help=f"{_MEANING} Repeat it for a model with several inputs.",
)  # fmt: skip
UNSEEN_SIGNAL = click.option(
    "--input-signal", type=click.Choice(choices.INPUT_SIGNALS), multiple=True,
    help=f"{_MEANING} Repeat it for a model with several inputs.  [default: auto, so that what the "
    "input reaches may get spikes or not; for a bundled network analog, as the paper feeds it]",
)  # fmt: skip
