"""End a count after so many samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from syops._torch import tree_map
from syops.errors import SyopsTypeError, SyopsValueError
from syops.run.subject import Subject
from syops.trace import inputs as given


def check_limit(limit: object) -> None:
    """Refuse a limit that is not a number of samples."""
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise SyopsTypeError(f"limit must be a positive integer, got {limit!r}")
    if limit < 1:
        raise SyopsValueError(f"limit must be a positive integer, got {limit!r}")


def limited(
    batches: Iterable[given.Batch], limit: int | None, subject: Subject, notes: dict[str, None]
) -> Iterator[given.Batch]:
    """Yield batches with ``limit`` samples in all; the last one is cut.

    A batch that cannot be cut ends the count before it, which a note says.

    Raises:
        SyopsValueError: the first batch has more samples than ``limit``, and cannot be cut.
    """
    left = limit
    for batch in batches:
        if left is None:
            yield batch
            continue
        samples = subject.samples_of(batch.arguments)
        if samples > left:
            smaller = cut(batch, left, samples, subject)
            if smaller is None:
                _end(left, limit, samples, notes)
                return
            batch, samples = smaller, left
        left -= samples
        yield batch
        if not left:
            return


def cut(batch: given.Batch, keep: int, samples: int, subject: Subject) -> given.Batch | None:
    """Return the first samples of a batch; None if a tensor of it does not have its samples."""
    first, dims = given.first_tensor(batch.arguments), []

    def dim_of(tensor: Tensor) -> int:
        return subject.batch_dim if tensor is not first else subject.batch_axis(batch.arguments)

    for tensor in given.tensors_of(batch.arguments):
        dim = dim_of(tensor)
        fits = -tensor.dim() <= dim < tensor.dim() and tensor.shape[dim] == samples
        dims.append(fits and not tensor.is_nested)
    if not all(dims):
        return None

    def narrowed(leaf: Any) -> Any:
        return leaf.narrow(dim_of(leaf), 0, keep) if isinstance(leaf, Tensor) else leaf

    labels, sized = batch.labels, hasattr(batch.labels, "__len__")
    if sized and hasattr(labels, "ndim") and labels.ndim and len(labels) == samples:
        labels = labels[:keep]
    return batch._replace(
        arguments=tree_map(narrowed, batch.arguments), labels=labels, cut_from=samples
    )


def _end(left: int, limit: int | None, samples: int, notes: dict[str, None]) -> None:
    why = f"the next batch, of {samples}, has a tensor without its samples and cannot be cut"
    if left == limit:
        raise SyopsValueError(
            f"limit={limit}: the first batch has {samples} samples, and cannot be cut as one of "
            "its tensors does not have them; give smaller batches"
        )
    notes[f"the count ends {left} samples before limit={limit}: {why}"] = None
