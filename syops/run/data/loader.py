"""Give the samples of a data set in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from syops.errors import SyopsError, SyopsRuntimeError, SyopsValueError, first_line


class Sample(NamedTuple):
    """Hold one sample, or why it cannot be read."""

    number: int
    value: Any
    label: int | None = None


class _Numbered(Dataset[Sample]):
    """A data set whose samples have a number; errors are samples, so that workers hand them on."""

    def __init__(self, data: Dataset[Any]) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Sample:
        try:
            return Sample(index, *self._data[index])
        except SyopsError as error:
            return Sample(index, error)


class Loader:
    """Iterate over a data set in batches, each time in the same order.

    Args:
        data: pairs of a sample and its label, or None.
        batch_size: samples in a batch; the last one may have fewer.
        batch_dim: the dimension along which samples are stacked.
        workers: processes that read samples; 0 reads them in this one.
        shuffle: in a random order, which depends on the seed alone.
        seed: of the order.

    Examples:
        >>> data = [(torch.zeros(4), label) for label in (1, 0, 1)]
        >>> [(list(x.shape), y.tolist()) for x, y in Loader(data, batch_size=2)]
        [([2, 4], [1, 0]), ([1, 4], [1])]
    """

    drop_last = False

    def __init__(
        self,
        data: Dataset[Any],
        *,
        batch_size: int,
        batch_dim: int = 0,
        workers: int = 0,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        self.batch_size = batch_size
        self._seed = seed
        self._generator = torch.Generator()
        self._loader: DataLoader[Any] = DataLoader(
            _Numbered(data),
            batch_size,
            shuffle=shuffle,
            num_workers=workers,
            generator=self._generator,
            collate_fn=partial(collate, batch_dim=batch_dim),
        )
        self.sampler = self._loader.sampler

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[Any, Tensor | None]]:
        """Yield inputs and labels.

        Raises:
            SyopsError: a sample cannot be read, or is of another shape than the others of a batch.
        """
        self._generator.manual_seed(self._seed)
        try:
            for batch in self._loader:
                if isinstance(batch, SyopsError):
                    raise batch
                yield batch
        except SyopsError:
            raise
        except RuntimeError as error:  # a worker was killed
            raise SyopsRuntimeError(f"the data cannot be read: {first_line(error)}") from error


def collate(samples: Sequence[Sample], batch_dim: int) -> Any:
    """Stack samples and labels; return the first error instead, if there is one."""
    broken = next((each.value for each in samples if isinstance(each.value, SyopsError)), None)
    if broken is not None:
        return broken
    values, labels = [each.value for each in samples], [each.label for each in samples]
    try:
        first = values[0]
        stacked: Any
        if isinstance(first, Tensor):
            stacked = _stack(values, samples, batch_dim)
        elif isinstance(first, tuple):
            parts = zip(*values, strict=True)
            stacked = tuple(_stack(part, samples, batch_dim) for part in parts)
        else:
            stacked = {
                name: _stack([value[name] for value in values], samples, batch_dim)
                for name in first
            }
    except SyopsError as error:
        return error
    return stacked, None if None in labels else torch.tensor(labels)


def _stack(tensors: Sequence[Tensor], samples: Sequence[Sample], batch_dim: int) -> Tensor:
    first = tensors[0]
    for tensor, sample in zip(tensors, samples, strict=True):
        if tensor.shape != first.shape:
            raise SyopsValueError(
                f"sample {sample.number} (the first is 0) has the shape {list(tensor.shape)}, and "
                f"sample {samples[0].number} {list(first.shape)}: those of a batch must be equal "
                "(of images, see --transform)"
            )
    return torch.stack(list(tensors), batch_dim)
