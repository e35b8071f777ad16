"""Compare the output of a model with labels: how often its answer is right, by class.

An answer is the class with the largest logit, the first one of equal ones. The label is among the
five largest if fewer than five logits are larger, or equal and before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from syops._torch import tree_leaves
from syops.errors import SyopsLookupError, SyopsTypeError, SyopsValueError, shown
from syops.ledger.scores import TOP, Scores
from syops.run.loop import CountedBatch

Output: TypeAlias = Callable[[Any], Tensor] | int | str | Literal[False] | None
"""Which part of a model's output are the logits; see `syops.get_model_syops`."""

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_CHOOSE = "say what the logits are with output= (in the command, --logits)"


def check_output(output: object) -> None:
    """Refuse what cannot be part of an output."""
    known = output is None or output is False or callable(output) or isinstance(output, int | str)
    if not known or output is True:
        raise SyopsTypeError(
            "output must be a function of the model's output, the index or name of a part of it, "
            f"or False for no accuracy; got {shown(output)}"
        )


class Answers:
    """Compare each batch with its labels, on the device that the output is on.

    Args:
        output: which part of the output are the logits.
        notes: where it is said why there is no accuracy.
    """

    def __init__(self, output: Output, notes: dict[str, None]) -> None:
        self._output = output
        self._notes = notes
        self._is_off = output is False
        self._seen = 0
        self._labelled = 0
        self._steps_first = False
        self._counts: Tensor | None = None
        """[3, classes]: samples, those that are right, and those right in five."""
        self._nans: Tensor | None = None

    def __call__(self, found: CountedBatch) -> bool:
        """Add a batch; see `syops.run.loop.After`."""
        before = self._seen
        self._seen += found.samples
        if self._is_off:
            return False
        try:
            labels = self._labels(found)
            if labels is not None:
                self._add(self._logits(found), labels, before)
        except _Unknown as reason:
            self._refuse(str(reason))
        return False

    def scores(self) -> Scores | None:
        """Return how often the answer was right so far; None where that is not known."""
        if self._counts is None or self._nans is None:
            return None
        if self._labelled < self._seen:
            self._refuse(f"{self._seen - self._labelled} of {self._seen} samples have no labels")
        elif (nans := int(self._nans)) > 0:
            self._refuse(f"the logits of {nans} of {self._seen} samples hold NaN")
        if self._is_off:
            return None
        return Scores(*(tuple(counts) for counts in self._counts.tolist()))

    def _refuse(self, reason: str) -> None:
        self._notes[f"No accuracy: {reason}"] = None
        self._is_off = True

    def _labels(self, found: CountedBatch) -> Tensor | None:
        """Return the labels of a batch; None if it has none."""
        labels = labels_of(found)
        if labels is None:
            return None
        if not are_classes(labels, found.samples):
            kind = str(labels.dtype).removeprefix("torch.")
            raise _Unknown(
                f"class labels are integers of shape [{found.samples}], one for each sample of a "
                f"batch, but what comes with the input is {kind} of shape {list(labels.shape)}"
            )
        return labels

    def _logits(self, found: CountedBatch) -> Tensor:
        """Return the logits of a batch, [N, classes].

        Raises:
            _Unknown: no tensor of the output fits the labels, or several do.
            SyopsLookupError, SyopsTypeError, SyopsValueError: ``output`` does not fit.
        """
        chosen = self._output
        if callable(chosen):
            return self._chosen(chosen(found.output), found)
        calls = found.output if found.by_calls else [found.output]
        if chosen is not None:
            return _mean([self._chosen(part_of(each, chosen), found) for each in calls])
        parts = [dict(_tensors(each)) for each in calls]
        fitting: dict[str, list[Tensor]] = {}
        for name in parts[0]:
            each = [self._readout(part.get(name), found) for part in parts]
            if all(logits is not None for logits in each):
                fitting[name] = [logits for logits in each if logits is not None]
        if len(fitting) > 1:
            raise _Unknown(f"{', '.join(fitting)} of the output fit the labels; {_CHOOSE}")
        if not fitting:
            shapes = [str(list(tensor.shape)) for tensor in parts[0].values()]
            raise _Unknown(
                f"the output is of shape {', '.join(shapes) or 'none'}, which is neither [N, "
                f"classes] nor [T, N, classes] for the {found.samples} labels of a batch; {_CHOOSE}"
            )
        return _mean(next(iter(fitting.values())))

    def _chosen(self, part: Any, found: CountedBatch) -> Tensor:
        """Return the logits that the user named."""
        if not isinstance(part, Tensor):
            raise SyopsTypeError(f"output: expected a tensor of logits, got {type(part).__name__}")
        logits = self._readout(part, found)
        if logits is None:
            raise SyopsValueError(
                f"output: logits of shape {list(part.shape)}; expected [N, classes] or "
                f"[T, N, classes] for the {found.samples} labels of a batch"
            )
        return logits

    def _readout(self, tensor: Tensor | None, found: CountedBatch) -> Tensor | None:
        """Return [N, classes]: the tensor, or its mean over T; None if it does not fit."""
        if tensor is None or tensor.is_complex() or tensor.is_nested:
            return None
        tensor = tensor if tensor.is_floating_point() else tensor.double()
        if tensor.dim() == 2 and tensor.shape[0] == found.samples and tensor.shape[1] > 1:
            return tensor
        steps = None if found.by_calls else found.steps
        if tensor.dim() != 3 or tuple(tensor.shape[:2]) != (steps, found.samples):
            return None
        if tensor.shape[2] < 2:
            return None
        if steps != found.samples or found.time_axis == 0:
            self._steps_first = True
        if not self._steps_first:
            raise _Unknown(
                f"an output of shape {list(tensor.shape)} is [T, N, classes] or [N, T, classes]; "
                f"{_CHOOSE}"
            )
        return tensor.float().mean(0) if tensor.dtype != torch.float64 else tensor.mean(0)

    @torch.no_grad()
    def _add(self, logits: Tensor, labels: Tensor, before: int) -> None:
        logits, classes = logits.detach(), logits.shape[1]
        outside = (labels < 0) | (labels >= classes)
        if bool(outside.any()):
            place = int(outside.nonzero()[0])
            raise SyopsValueError(
                f"labels: sample {before + place} (the first is 0) has the label "
                f"{int(labels[place])}, and the output has the classes 0 to {classes - 1}; leave "
                "such samples out, or give output=False (in the command, --logits none) if these "
                "are not class labels"
            )
        labels = labels.to(logits.device, torch.int64)
        if self._counts is None or self._nans is None:
            self._counts = torch.zeros(3, classes, dtype=torch.int64, device=logits.device)
            self._nans = torch.zeros((), dtype=torch.int64, device=logits.device)
        if self._counts.shape[1] != classes:
            raise _Unknown(
                f"the output has {self._counts.shape[1]} classes in one batch and {classes} in "
                "another one"
            )
        own = logits.gather(1, labels[:, None])
        is_before = torch.arange(classes, device=logits.device) < labels[:, None]
        rank = ((logits > own) | ((logits == own) & is_before)).sum(1)
        right = torch.stack([torch.ones_like(rank), (rank < 1).long(), (rank < TOP).long()])
        self._counts.index_add_(1, labels, right)
        self._nans += logits.isnan().any(1).sum()
        self._labelled += len(labels)


def labels_of(found: CountedBatch) -> Tensor | None:
    """Return what came with a batch as a tensor; None if that is not an array."""
    labels = found.labels
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iufb":
        return torch.from_numpy(np.array(labels))
    return labels if isinstance(labels, Tensor) else None


def are_classes(labels: Tensor, samples: int) -> bool:
    """Return whether there is one integer for each sample."""
    return labels.dtype in _INTEGERS and tuple(labels.shape) == (samples,)


class _Unknown(Exception):
    """Say why there is no accuracy."""


def part_of(output: Any, chosen: int | str) -> Any:
    """Return a part of a model's output by its index or name.

    Raises:
        SyopsLookupError: there is no such part; says which there are.
    """
    try:
        if isinstance(chosen, str) and not isinstance(output, Mapping):
            return getattr(output, chosen)
        return output[chosen]
    except (LookupError, AttributeError, TypeError) as error:
        names = ", ".join(name for name, _ in _tensors(output)) or type(output).__name__
        raise SyopsLookupError(f"output={chosen!r}: the model's output has {names}") from error


def _tensors(output: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of an output, each once, with what ``output=`` calls the part it is in."""
    if isinstance(output, Tensor):
        yield "the output", output
        return
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        yield "'logits'", output["logits"]
        return
    if isinstance(output, Mapping):
        parts = [(repr(key), value) for key, value in output.items()]
    elif hasattr(output, "_fields"):
        parts = [(repr(key), value) for key, value in zip(output._fields, output, strict=True)]
    elif isinstance(output, tuple | list):
        parts = [(str(index), value) for index, value in enumerate(output)]
    else:
        parts = []
    met: set[int] = set()
    for name, value in parts:
        leaves = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
        for place, leaf in enumerate(leaves):
            if id(leaf) not in met:
                met.add(id(leaf))
                yield (name if leaf is value else f"{name}[{place}]"), leaf


def _mean(steps: list[Tensor]) -> Tensor:
    """Return the mean over the calls of a batch."""
    return steps[0] if len(steps) == 1 else sum(steps[1:], steps[0]) / len(steps)
