"""Train a network of the paper by dual-stream training.

    python examples/train_dst.py --dataset digits --model fsnn_digits --folder runs/fsnn
    torchrun --nproc-per-node 2 examples/train_dst.py --dataset digits --model fsnn_digits ...

An ``fsnn*`` is trained with an auxiliary accumulation pathway, which is taken off at the end, and
a ``dsnn*`` keeps it; any other network has one stream. ``--no-dst`` trains an ``fsnn*`` alone. The
result is ``weights.safetensors`` in the folder.
"""

from __future__ import annotations

import ast
import os
import sys
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import torch
from safetensors.torch import save_file

from syops import SyopsError, create_model
from syops.dst import (
    EVENT_SETS,
    RECIPES,
    Epoch,
    Recipe,
    evaluate,
    fit,
    get_data,
    get_recipe,
    seed_everything,
)
from syops.dst.checkpoint import refuse_to_overwrite
from syops.errors import first_line
from syops.files import write_whole
from syops.models import attach_aap, detach_aap

HELP = __doc__.replace("\n\n    ", "\n\n\b\n    ", 1)


@click.command(context_settings={"show_default": True}, help=HELP)
@click.option("--dataset", type=click.Choice(list(RECIPES)), required=True)
@click.option("--model", "name", required=True, help="See 'syops models'.")
@click.option("--set", "keywords", multiple=True, metavar="NAME=VALUE", help="Of the model.")
@click.option("--recipe", "changes", multiple=True, metavar="NAME=VALUE",
              help="Of the recipe of the data set, such as epochs=3 or lr=0.05.")  # fmt: skip
@click.option("--dst/--no-dst", default=True, help="With an AAP while an fsnn* is trained.")
@click.option("--classifier", type=click.Choice(["shared", "separate"]),
              help="Of both streams, or one for each, while an fsnn* is trained; 'separate' if not "
              "given.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data.")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For results.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the folder.")
@click.option("--seed", default=0)
@click.option("--amp", is_flag=True, help="Automatic mixed precision.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu")
@click.option("--workers", default=0, help="Processes that load data.")
def train(
    dataset: str,
    name: str,
    keywords: tuple[str, ...],
    changes: tuple[str, ...],
    dst: bool,
    classifier: str | None,
    data: Path | None,
    folder: Path,
    resume: bool,
    seed: int,
    amp: bool,
    device: str,
    workers: int,
) -> None:
    recipe = changed(get_recipe(dataset), changes)
    check_device(device)
    if not resume:
        refuse_to_overwrite(folder)
    train_set, test_set = get_data(dataset, recipe.T, data)
    events = dataset in EVENT_SETS
    seed_everything(seed)
    given = {"T": recipe.T, **({"in_channels": 2} if dataset == "digit-events" else {})}
    network = create_model(name, **{**given, **dict(map(keyword, keywords))})
    added = dst and name.startswith("fsnn")
    if classifier and not added:
        raise click.UsageError(
            "--classifier is for an fsnn* that is trained by DST; a dsnn* has --set classifier=..."
        )
    if added:
        network = attach_aap(network, classifier=classifier)
    with ExitStack() as stack:
        device = joined(stack, device)
        fit(
            network,
            train_set,
            test_set,
            recipe,
            name=f"{name}{' with an AAP' * added}{' (shared)' * (classifier == 'shared')} "
            f"{sorted(dict(map(keyword, keywords)).items())}",
            seed=seed,
            folder=folder,
            resume=resume,
            amp=amp,
            device=device,
            workers=workers,
            events=events,
            progress=sys.stderr.isatty(),
            on_epoch=Reporter(folder, stack),
        )
        deployed = detach_aap(network) if added else network
        accuracy = evaluate(deployed, test_set, recipe.batch_size, device, events)
    if int(os.environ.get("RANK", 0)) == 0:
        weights = {key: value.cpu().contiguous() for key, value in deployed.state_dict().items()}
        path = folder / "weights.safetensors"
        write_whole(path, lambda partial: save_file(weights, partial))
        click.echo(f"{path}: {told(accuracy)}")


def keyword(text: str) -> tuple[str, Any]:
    """NAME=VALUE, with a Python literal or a string for a value."""
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def changed(recipe: Recipe, changes: tuple[str, ...]) -> Recipe:
    wanted = dict(map(keyword, changes))
    known = [field.name for field in fields(Recipe)]
    for name in wanted:
        if name not in known:
            raise click.UsageError(f"a recipe has no {name!r}; it has {', '.join(known)}")
    return replace(recipe, **wanted)


def check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except Exception as error:  # torch raises AssertionError and RuntimeError
        raise click.UsageError(f"--device {device}: {first_line(error)}") from error


def joined(stack: ExitStack, device: str) -> str:
    """The process group of torchrun, if there is one; returns this process's device."""
    if "WORLD_SIZE" not in os.environ:
        return device
    backend = "nccl" if device.startswith("cuda") else "gloo"
    torch.distributed.init_process_group(backend)
    stack.callback(torch.distributed.destroy_process_group)
    return f"cuda:{os.environ['LOCAL_RANK']}" if backend == "nccl" else device


class Reporter:
    """Prints each epoch, and writes scalars for TensorBoard where that is installed."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder / "tensorboard"
        self.stack = stack
        self.writer: Any = None

    def __call__(self, epoch: Epoch) -> None:
        click.echo(f"epoch {epoch.epoch}: loss {epoch.loss:.4f}, {told(epoch.accuracy)}")
        if self.writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            # What a run wrote beyond its last checkpoint is not shown once that run goes on.
            self.writer = self.stack.enter_context(
                SummaryWriter(self.folder, purge_step=epoch.epoch)
            )
        shares = {f"accuracy/{stream}": share for stream, share in epoch.accuracy.items()}
        for name, value in {"loss": epoch.loss, "lr": epoch.lr, **shares}.items():
            self.writer.add_scalar(name, value, epoch.epoch)
        self.writer.flush()


def told(accuracy: dict[str, float]) -> str:
    return ", ".join(f"{stream} {share:.2%}" for stream, share in accuracy.items())


if __name__ == "__main__":
    try:
        train(standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"train_dst: error: {error.format_message()}", err=True)
        sys.exit(2)
    except SyopsError as error:
        click.echo(f"train_dst: error: {error}", err=True)
        sys.exit(2)
