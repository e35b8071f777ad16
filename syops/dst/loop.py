"""Train a network by dual-stream training, resume bit for bit after a kill, and test it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed import all_reduce, broadcast, get_rank, get_world_size, is_initialized
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset
from tqdm import tqdm

from syops.dst import checkpoint
from syops.dst.events import random_temporal_delete
from syops.dst.loss import check_labels, dst_loss
from syops.dst.recipes import Recipe
from syops.errors import SyopsError, SyopsValueError
from syops.files import write_text
from syops.models.parts import Streams


class DivergedError(SyopsError, ArithmeticError):
    """Report that the loss is no longer finite; the last checkpoint is left as it is."""


@dataclass
class Epoch:
    """Hold the results of one epoch.

    Attributes:
        epoch: from 0.
        lr: learning rate.
        losses: the loss of every step.
        accuracy: on the test set, by stream: "spike" and, with an AAP, "accumulated".
    """

    epoch: int
    lr: float
    losses: list[float] = field(default_factory=list)
    accuracy: dict[str, float] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The mean loss of all steps."""
        return sum(self.losses) / len(self.losses)


def seed_everything(seed: int) -> None:
    """Seed all generators, and make torch use deterministic algorithms.

    Args:
        seed: for Python, NumPy and torch, on every device.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


def fit(
    model: nn.Module,
    train: Dataset[Any],
    test: Dataset[Any],
    recipe: Recipe,
    *,
    name: str,
    seed: int = 0,
    folder: Path | None = None,
    resume: bool = False,
    amp: bool = False,
    device: torch.device | str = "cpu",
    workers: int = 0,
    events: bool = False,
    progress: bool = False,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> list[Epoch]:
    """Train ``model`` as the recipe says, with the loss of Eq. (12).

    With a ``folder``, every epoch writes a checkpoint (``checkpoint.pt``), from which a training
    resumes as if it had not been interrupted, and the results so far (``history.json``). In a
    process group, such as ``torchrun`` makes, the processes share the batches, and only the first
    one writes.

    Args:
        model: returns logits or `Streams` of them; it is moved to ``device``.
        train, test: pairs of an input and a label.
        recipe: the hyper-parameters.
        name: the name of the network; a checkpoint of another network is refused.
        seed: a seed for the order of the data and for random temporal delete.
        folder: where checkpoints go.
        resume: resume from the checkpoint in ``folder``.
        amp: automatic mixed precision: float16 on a GPU, bfloat16 on a CPU.
        device: where to run.
        workers: processes that load data.
        events: samples are frames [T, ...], and the network takes [T, N, ...].
        progress: a bar for each epoch.
        on_epoch: called after each epoch, for example to write scalars for TensorBoard.

    Returns:
        all epochs, including those before a resume.

    Raises:
        SyopsFileError: ``folder`` holds a checkpoint and ``resume`` is not set; or ``resume`` is
            set and there is no checkpoint that can be read.
        SyopsValueError: an empty data set, a label that is not a class, a T_train above the number
            of frames or for samples without frames, a checkpoint of another network, recipe or
            seed.
        DivergedError: the loss or a weight became NaN or infinite.

    Examples:
        >>> from dataclasses import replace
        >>> from torch.utils.data import TensorDataset
        >>> from syops.dst import get_recipe
        >>> data = TensorDataset(torch.rand(8, 4), torch.arange(8) % 2)
        >>> recipe = replace(get_recipe("digits"), epochs=2)
        >>> [epoch.loss > 0 for epoch in fit(nn.Linear(4, 2), data, data, recipe, name="mine")]
        [True, True]
    """
    for what, data in (("training", train), ("test", test)):
        if not len(data):  # type: ignore[arg-type]
            raise SyopsValueError(f"the {what} set is empty")
    if recipe.T_train is not None and not events:
        raise SyopsValueError(
            f"T_train={recipe.T_train}: only frames of events can be deleted, and these are images"
        )
    device = torch.device(device)
    model.to(device)
    optimizer = recipe.make_optimizer(model)
    scaler = torch.amp.GradScaler(device.type, enabled=amp and device.type == "cuda")
    parts: dict[str, Any] = {
        "model": model,
        "optimizer": optimizer,
        "schedule": recipe.make_schedule(optimizer),
        "scaler": scaler,
    }
    identity = {"name": name, "seed": seed, "amp": amp, "recipe": asdict(recipe)}
    done = _begin(folder, resume, identity, parts)
    network = DistributedDataParallel(model) if is_initialized() else model
    for number in range(len(done), recipe.epochs):
        epoch = Epoch(number, optimizer.param_groups[0]["lr"])
        generator = torch.Generator().manual_seed(1_000_003 * seed + number)
        batches = _batches(train, recipe, generator, number, workers)
        network.train()
        for x, y in tqdm(batches, disable=not progress, desc=f"epoch {number}", unit="batch"):
            x, y = _on_device(x, y, device, events)
            if recipe.T_train is not None and events:
                x = random_temporal_delete(x, recipe.T_train, generator)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, enabled=amp):
                loss = dst_loss(network(x), y, weights=recipe.stream_weights(number))
            epoch.losses.append(_finite(loss, epoch))
            scaler.scale(loss).backward()
            if recipe.clip is not None:
                scaler.unscale_(optimizer)
                clip_grad_norm_(model.parameters(), recipe.clip)
            scaler.step(optimizer)
            scaler.update()
        _check_weights(model, epoch)
        parts["schedule"].step()
        epoch.accuracy = evaluate(model, test, recipe.batch_size, device, events)
        done.append(epoch)
        if _is_first():
            if folder is not None:
                _save(folder, identity, parts, done)
            on_epoch(epoch)
    return done


@torch.no_grad()
def evaluate(
    model: nn.Module,
    test: Dataset[Any],
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    events: bool = False,
) -> dict[str, float]:
    """Return the share of correct answers on ``test`` by stream, in eval mode; see `Epoch`.

    Raises:
        SyopsValueError: a label is not a class.

    Examples:
        >>> from torch.utils.data import TensorDataset
        >>> evaluate(nn.Identity(), TensorDataset(torch.eye(3), torch.tensor([0, 1, 1])))
        {'spike': 0.6666666666666666}
    """
    device = torch.device(device)
    mine: Dataset[Any] = test
    if is_initialized():
        mine = Subset(test, range(get_rank(), len(test), get_world_size()))  # type: ignore[arg-type]
        for buffer in model.buffers():  # each process has normalised its own last batch
            broadcast(buffer, 0)
    model.eval()
    correct: dict[str, int] = {}
    for x, y in DataLoader(mine, batch_size):
        x, y = _on_device(x, y, device, events)
        outputs = model(x)
        streams = outputs if isinstance(outputs, Streams) else Streams(outputs, None)
        for stream, logits in streams._asdict().items():
            if logits is not None:
                check_labels(y, classes=logits.shape[1])
                right = int((logits.argmax(1) == y).sum())
                correct[stream] = correct.get(stream, 0) + right
    counts = torch.tensor([*correct.values(), len(mine)], device=device)  # type: ignore[arg-type]
    if is_initialized():
        all_reduce(counts)
    *right_ones, total = counts.tolist()
    return {stream: n / total for stream, n in zip(correct, right_ones, strict=True)}


def _begin(
    folder: Path | None, resume: bool, identity: dict[str, Any], parts: dict[str, Any]
) -> list[Epoch]:
    """Return the epochs that are done already, with everything as it was after them."""
    if folder is None:
        return []
    if not resume:
        checkpoint.refuse_to_overwrite(folder)
        return []
    content = checkpoint.load(folder, identity)
    for key, part in parts.items():
        part.load_state_dict(content[key])
    torch.set_rng_state(content["rng"])
    return [Epoch(**epoch) for epoch in content["epochs"]]


def _save(folder: Path, identity: dict[str, Any], parts: dict[str, Any], done: list[Epoch]) -> None:
    epochs = [asdict(epoch) for epoch in done]
    states = {key: part.state_dict() for key, part in parts.items()}
    checkpoint.save(folder, identity, {**states, "rng": torch.get_rng_state(), "epochs": epochs})
    text = json.dumps({**identity, "epochs": epochs}, indent=1) + "\n"
    write_text(folder / "history.json", text)


def _batches(
    train: Dataset[Any], recipe: Recipe, generator: torch.Generator, epoch: int, workers: int
) -> Iterable[tuple[Tensor, Tensor]]:
    """Return the batches of an epoch, in an order that depends on the seed and the epoch alone."""
    if not is_initialized():
        return DataLoader(
            train, recipe.batch_size, shuffle=True, generator=generator, num_workers=workers
        )
    seed = int(generator.initial_seed() % 2**31)
    sampler: DistributedSampler[Any] = DistributedSampler(train, seed=seed)
    sampler.set_epoch(epoch)
    each = max(1, recipe.batch_size // get_world_size())
    return DataLoader(train, each, sampler=sampler, generator=generator, num_workers=workers)


def _on_device(x: Tensor, y: Tensor, device: torch.device, events: bool) -> tuple[Tensor, Tensor]:
    """Return where the network is; frames of events with the time first."""
    x = x.transpose(0, 1) if events else x
    return x.to(device, non_blocking=True), y.to(device, non_blocking=True)


def _finite(loss: Tensor, epoch: Epoch) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise DivergedError(
            f"epoch {epoch.epoch}, step {len(epoch.losses)}: the loss is {value}; lower the "
            "learning rate, or clip the gradient"
        )
    return value


def _check_weights(model: nn.Module, epoch: Epoch) -> None:
    """Check the weights after the last step of an epoch, whose effect no loss shows yet."""
    for path, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise DivergedError(
                f"epoch {epoch.epoch}: {path} is not finite after the last step; lower the "
                "learning rate, or clip the gradient"
            )


def _is_first() -> bool:
    return not is_initialized() or get_rank() == 0
