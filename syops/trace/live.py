"""Keep what is known of every tensor that is alive during a forward pass.

A signal describes the values that a tensor had when the signal was derived. A record therefore
counts only while its tensor is alive, on the same storage, in the same version. A write that the
pass sees, through whichever alias, is joined into the records of all aliases. A write that the pass
does not see makes them void.

The version is torch's counter of writes, which a view shares with its base. Inside the dispatcher,
where records are made, the counters are behind: torch brings them up to date one layer further out,
after the operator has returned. Take ``x`` in version 1:

========================  ==================  ================  ===============
operator                  inside, `x`         inside, result    afterwards, both
========================  ==================  ================  ===============
``y = x[1:]``             1                   0                 1
``y.mul_(2)``             1                   1                 2
========================  ==================  ================  ===============

Hence the record of a view takes the version of its base, not the one that the view shows: 1, not 0.
The records after a write take the version that is shown plus one: 2, not 1. With the versions that
are shown, these records would be void at the next operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from syops._torch import STATISTICS, identity, version_of, weak_reference
from syops.ops.rule import Derivation
from syops.ops.values import ANALOG, LEARNED, UNKNOWN, Atoms, Signal, TruthTable
from syops.trace.aliasing import (
    covers_storage,
    offset_of,
    overlaps_itself,
    storage_of,
    strides_of,
)
from syops.trace.axes import BEFORE
from syops.trace.filling import Filling
from syops.trace.lineage import Padding, ResultView
from syops.trace.paths import paths_of, weights_of
from syops.trace.record import Record
from syops.trace.states import tensors_of

T = TypeVar("T")


class StoodFor(NamedTuple):
    """A tensor that a stand-in stood for: what tells it, and by how much its version is ahead."""

    key: int
    ref: Any
    storage: int
    shift: int


class Tensors:
    """Keep the records of live tensors, by identity.

    Args:
        model: whose parameters and buffers are weights as long as nothing is written into them.
        states: names of buffers that are states: they hold what an earlier time-step left there.
    """

    def __init__(self, model: nn.Module, states: Set[str] = frozenset()) -> None:
        self.atoms = Atoms()
        self._model = model
        self._learned = weights_of(model)  # keeps the identities taken
        self._states = {name: self._learned.pop(name) for name in states & self._learned.keys()}
        self._names = {identity(t): (name, version_of(t)) for name, t in self._learned.items()}
        self._records: dict[int, Record] = {}
        self._on_storage: dict[int, set[int]] = {}
        self.read: set[int] = set()
        """The weights that an operator has read."""
        self._written: set[int] = set()
        self._written_by_data: set[int] = set()
        self._tied = len(self._names) < len(self._learned)
        self._room = 256
        for tensor in self._states.values():
            self.put(tensor, UNKNOWN).time = BEFORE

    @property
    def buffered(self) -> tuple[Tensor, ...]:
        """The buffers that are known to be states."""
        return tuple(self._states.values())

    def has_changed_weights(self) -> bool:
        """Return whether parameters or buffers were written into or replaced, as states are."""
        now = weights_of(self._model)
        return now.keys() - self._states.keys() != self._learned.keys() or any(
            now[name] is not tensor or not self._is_unwritten(tensor)
            for name, tensor in self._learned.items()
        )

    def states(self) -> frozenset[str]:
        """Return the buffers that were read as weights although data was written into them."""
        read = {n: t for n, t in self._buffers.items() if identity(t) in self.read}
        now = weights_of(self._model)
        return frozenset(
            name
            for name, tensor in read.items()
            if storage_of(tensor) in self._written_by_data
            or (name in now and not self._is_fixed(now[name]))
        )

    @property
    def _buffers(self) -> dict[str, Tensor]:
        """The buffers that are not states; without statistics, of which no result depends on those
        of a norm while they are written, and no signal on those of a quantiser."""
        statistics = {
            path for module, path in paths_of(self._model).items() if isinstance(module, STATISTICS)
        }
        return {
            name: tensor
            for name, tensor in self._learned.items()
            if not isinstance(tensor, nn.Parameter) and name.rpartition(".")[0] not in statistics
        }

    def changed(self) -> frozenset[str]:
        """Return the buffers that data was written into, or that were replaced by data."""
        now = weights_of(self._model)
        return frozenset(
            name
            for name in self._buffers
            if (tensor := now.get(name)) is not None
            and (storage_of(tensor) in self._written_by_data or not self._is_fixed(tensor))
        )

    def take_over(self, before: Tensors) -> None:
        """Take over what an earlier pass knew of the values of tensors that are still alive.

        Not what it knew of parameters and buffers, which are weights again, nor of their memory.
        """
        for key, old in before._records.items():
            if old.ref.expired() or old.made_of_weights or key in self._names:
                continue
            signal = old.signal
            if isinstance(signal, TruthTable) and signal.atoms:
                fresh = self.atoms.fresh(tuple(signal.support))
                signal = replace(fresh, scale=signal.scale)
            record = self._records[key] = old.after_write(signal, old.version, fixed=old.fixed)
            record.earlier = old.computed or old.earlier
            self._on_storage.setdefault(record.storage, set()).add(key)

    def was_written(self, tensor: Tensor) -> bool:
        """Return whether an operator wrote into a tensor, or into one that shares its memory."""
        return storage_of(tensor) in self._written

    def _is_fixed(self, tensor: Tensor) -> bool:
        record, signal = self.known(tensor)
        return signal is LEARNED if record is None else record.fixed

    def find(self, tensor: Tensor) -> Record | None:
        """Return the record of a tensor, if it still describes the tensor's values."""
        record = self._records.get(identity(tensor))
        if record is None or not record.describes(tensor):
            return None
        return record

    def latest(self, tensor: Tensor) -> Record:
        """Return the record of a tensor that an operator has just made or written."""
        record = self._records.get(identity(tensor))
        if record is None or record.ref.expired():
            record = self.put(tensor, self.signal(tensor))
        return record

    def signal(self, tensor: Tensor) -> Signal:
        """Return the signal of a tensor, also of one without a record."""
        return self.known(tensor)[1]

    def known(self, tensor: Tensor) -> tuple[Record | None, Signal]:
        """Return the record of a tensor, if there is one, and its signal in any case."""
        record = self.find(tensor)
        if record is not None:
            return record, record.signal
        if identity(tensor) in self._names:
            return None, LEARNED if self._is_unwritten(tensor) else UNKNOWN
        if tensor.dtype == torch.bool:
            record = self.put(tensor, self.atoms.fresh((False, True)))
            return record, record.signal
        return None, ANALOG if tensor.is_complex() else UNKNOWN

    def name(self, tensor: Tensor) -> str:
        """Return the name of a weight that was not written into, also when all of it was moved.

        Any other tensor has the name "".
        """
        record = self.find(tensor)
        if record is not None:
            return record.name
        name, _ = self._names.get(identity(tensor), ("", 0))
        return name if name and self._is_unwritten(tensor) else ""

    def named(self, tensor: Tensor) -> tuple[str, int] | None:
        """Return the name of a parameter or buffer, and its version at the start of the pass."""
        return self._names.get(identity(tensor))

    @cached_property
    def storages(self) -> frozenset[int]:
        """The storages of all parameters and buffers."""
        return frozenset(map(storage_of, self._learned.values()))

    def layouts(self, layout: Callable[[Tensor], T]) -> tuple[tuple[str, T, str, str], ...]:
        """Return the parameters and buffers: what a pass depends on, but for their values.

        Args:
            layout: tells how a tensor lies in memory.

        Returns:
            of each its name, its layout, and the first names of this tensor and of its memory.
        """
        first: dict[tuple[str, int], str] = {}
        return tuple(
            (
                f"{type(tensor).__name__} {name}",
                layout(tensor),
                first.setdefault(("tensor", identity(tensor)), name),
                first.setdefault(("memory", storage_of(tensor)), name),
            )
            for name, tensor in self._learned.items()
        )

    def replaced(self) -> dict[str, Tensor]:
        """Return the parameters and buffers that others were in place of before the pass."""
        now = weights_of(self._model)
        return {name: t for name, t in now.items() if self._learned.get(name) is not t}

    def names_on(self, storage: int) -> set[str]:
        """Return the names of the parameters and buffers on a storage."""
        return {name for name, tensor in self._learned.items() if storage_of(tensor) == storage}

    def of_name(self, name: str) -> Tensor:
        """Return the parameter or buffer of a name."""
        return self._learned[name]

    def parts(self, tensor: Tensor) -> frozenset[str]:
        """Return the parameters that a learned tensor is made of; a parameter is made of itself."""
        record = self.find(tensor)
        name, _ = self._names.get(identity(tensor), ("", 0))
        return record.parts if record else frozenset([name] if name else [])

    def weight(self, name: str) -> Tensor | None:
        """Return the parameter or buffer of that name, if it has no other name."""
        found = self._learned[name]
        if self._tied and sum(tensor is found for tensor in self._learned.values()) > 1:
            return None
        return found

    def kept(self, besides: Iterable[Tensor]) -> Iterator[Record]:
        """Yield what is known of the other tensors with results in them that the model keeps."""
        known = {identity(tensor) for tensor in besides}
        alive = [
            record
            for key, record in self._records.items()
            if key not in known and any(record.holds) and not record.ref.expired()
        ]
        if not alive:
            return
        storages = {storage_of(tensor) for tensor in tensors_of(self._model)}
        yield from (record for record in alive if record.storage in storages)

    def factor(self, name: str) -> Tensor | None:
        """Return the value of a scale that a one-element parameter is or divides; else None."""
        name, _, _ = name.partition(" of ")  # what follows says how it was rounded
        divides = name.startswith("(/") and name.endswith(")")
        weight = self._learned.get(name[2:-1] if divides else name)
        if weight is None or weight.numel() != 1:
            return None
        value = weight.detach().reshape(()).to(torch.float64)
        return 1 / value if divides else value

    def recipe(self, tensor: Tensor) -> Derivation | None:
        """Return how a learned tensor was computed; a parameter is its own recipe."""
        record = self.find(tensor)
        if record is not None:
            return record.recipe
        name = self.name(tensor)
        values = (0, 1) if tensor.dtype == torch.bool else ()
        return Derivation(name, values) if name else None

    def _is_unwritten(self, learned: Tensor) -> bool:
        """Return whether a parameter or buffer still holds what it held before the pass."""
        _, version = self._names[identity(learned)]
        return version == version_of(learned) and storage_of(learned) not in self._written

    def _name_after(self, base: Tensor | None, tensor: Tensor) -> str:
        """Return the name of the weight that a tensor is; "" where it is only a part of one."""
        whole = base is not None and base.numel() == tensor.numel()
        return self.name(base) if base is not None and whole else ""

    def put(
        self,
        tensor: Tensor,
        signal: Signal,
        view: ResultView | None = None,
        padding: Padding | None = None,
        base: Tensor | None = None,
        written: bool = False,
    ) -> Record:
        """Record the values that a tensor has now, in the version that it will have.

        The module's docstring says why that is not the version that the tensor shows. ``base`` is
        the tensor that this one may be a view of; ``written`` says that it was written into.
        """
        if tensor.is_inference() and signal is not LEARNED:
            signal = UNKNOWN  # no version counter: nothing can be promised of its values
        key, storage = identity(tensor), storage_of(tensor)
        is_view = base is not None and not tensor.is_inference() and storage_of(base) == storage
        record = Record(
            weak_reference(tensor),
            version_of(base if base is not None and is_view else tensor) + written,
            storage,
            tensor.shape,
            strides_of(tensor),
            tensor.dtype,
            signal,
            view,
            padding,
            self._name_after(base, tensor) if signal is LEARNED else "",
            signal is LEARNED and base is not None,
            offset=offset_of(tensor),
        )
        self._records[key] = record
        others = self._on_storage.get(storage)
        if others is None:
            self._on_storage[storage] = {key}
        else:
            others.add(key)
        if len(self._records) > self._room:
            self._sweep()
        return record

    def aliases(self, tensor: Tensor) -> list[tuple[int, Record]]:
        """Return the live records of all tensors on the same storage, with their keys."""
        storage = storage_of(tensor)
        found = []
        for key in self._on_storage.get(storage, ()):
            record = self._records.get(key)
            if record is not None and record.storage == storage and not record.ref.expired():
                found.append((key, record))
        return found

    def written(
        self,
        tensor: Tensor,
        signal: Signal,
        aliases: Sequence[tuple[int, Record]],
        padding: Padding | None = None,
        fixed: bool = False,
    ) -> None:
        """Join a write into ``tensor`` into the records of all tensors on its storage.

        An alias may hold old values, new ones, or both. It is unknown from now on if it has another
        version counter (as ``x.data`` has) or another dtype, or if it was written into unseen. A
        tensor that overlaps itself is unknown too, since a place may have been written twice.

        Args:
            tensor: what was written into.
            signal: the values that were written.
            aliases: the records on its storage before the write.
            padding: describes the aliases that now hold a padded tensor.
            fixed: whether neither data nor chance had a part in what was written, and where.
        """
        self._written.add(storage_of(tensor))
        if not fixed:
            self._written_by_data.add(storage_of(tensor))
        signal = UNKNOWN if overlaps_itself(tensor) else signal
        covers = covers_storage(tensor)
        for key, old in aliases:
            if old.version != version_of(tensor) or old.dtype != tensor.dtype:
                self._records[key] = old.after_write(UNKNOWN, old.version)
                continue
            same = covers and (old.shape, old.stride) == (tensor.shape, strides_of(tensor))
            parts = (signal,) if covers else (old.signal, signal)
            joined = signal if same else self.atoms.joined(parts)
            if joined is LEARNED and not fixed:  # a constant, but one that data told
                joined = ANALOG
            self._records[key] = old.after_write(
                joined, version_of(tensor) + 1, padding, old.fixed and fixed
            )
        self.put(tensor, signal, written=True)

    def rewritten(self, aliases: Sequence[tuple[int, Record]]) -> Iterator[tuple[Record, Record]]:
        """Yield what was known of each alias before a write, and what is known after it."""
        for key, old in aliases:
            now = self._records.get(key)
            if now is not None:
                yield old, now

    def hold(self, key: int, view: ResultView | None, filling: Filling | None) -> None:
        """Note which results a tensor holds after a write."""
        record = self._records.get(key)
        if record is not None:
            record.view, record.filling = view, filling

    def put_back(self, tensor: Tensor, record: Record | None) -> None:
        """Describe a tensor as it was described before."""
        if record is not None:
            self._records[identity(tensor)] = record
        else:
            self._records.pop(identity(tensor), None)

    def rebind(self, stood_for: Mapping[int, StoodFor]) -> None:
        """Bind what is known of stand-ins to the tensors that they stood for.

        ``stood_for``: these, by the identity of the stand-in.
        """
        storages: dict[int, int] = {}
        records: dict[int, Record] = {}
        for key, record in self._records.items():
            real = stood_for.get(key)
            if real is not None:
                storages[record.storage] = real.storage
                key = real.key
                record.ref, record.storage = real.ref, real.storage
                record.version += real.shift
            records[key] = record
        self._records = records
        self._on_storage = {}
        for key, record in records.items():
            self._on_storage.setdefault(record.storage, set()).add(key)
        self._written = {storages.get(each, each) for each in self._written}
        self._written_by_data = {storages.get(each, each) for each in self._written_by_data}

    def _sweep(self) -> None:
        """Forget the tensors that are gone."""
        for key in [key for key, record in self._records.items() if record.ref.expired()]:
            self._on_storage.get(self._records.pop(key).storage, set()).discard(key)
        self._on_storage = {storage: keys for storage, keys in self._on_storage.items() if keys}
        self._room = max(256, 2 * len(self._records))
