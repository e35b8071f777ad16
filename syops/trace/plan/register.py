"""Tell the tensors of a pass from one another: each by the number of its first appearance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from syops._torch import Marks, identity, marks_of, storage_identity, unwatched, weak_reference
from syops.trace.aliasing import storage_of
from syops.trace.live import Tensors
from syops.trace.plan.events import Id, Met, New, Ref, TensorMetadata, metadata_of
from syops.trace.states import tensors_of
from syops.trace.watch import is_wrapper


class KnownTensor(NamedTuple):
    """What is known of a tensor that was met.

    Attributes:
        ref: keeps its address from being used again.
        id: which one it is.
        storage: the identity of its memory.
        version: when it was met.
        metadata: of it.
    """

    ref: Any
    id: Id
    storage: int
    version: int
    metadata: TensorMetadata


class Register:
    """The tensors that a pass has met.

    Args:
        tensors: which of them are parameters and buffers.

    Attributes:
        entries: by identity.
        met: how many there are, but for parameters and buffers.
        given: how many of these the model was called with.
        starts: by storage, where an input of the model lies in its memory. Offsets are told from
            there: the batches of a data set in memory lie one after the other.
        has_met_shared: one shares memory with another one, though no operator made it a view.
        tensors: see above.
    """

    def __init__(self, tensors: Tensors) -> None:
        self.entries: dict[int, KnownTensor] = {}
        self.met = 0
        self.given = 0
        self.starts: dict[int, int] = {}
        self.has_met_shared = False
        self.tensors = tensors
        self._states: set[Id] = set()
        self._weights: dict[int, TensorMetadata] = {}
        self._on_storage: defaultdict[int, list[KnownTensor]] = defaultdict(list)

    def entry(self, tensor: Tensor) -> KnownTensor | None:
        """Return what is known of a tensor, if it was met or is a parameter or buffer."""
        key = identity(tensor)
        entry = self.entries.get(key)
        if entry is None:
            named = self.tensors.named(tensor)
            if named is not None and (key in self._weights or is_plain(tensor)):
                name, version = named
                metadata = self._weights.get(key) or metadata_of(tensor)
                entry = self._enter(tensor, metadata, name, marks_of(tensor), version)
        return entry

    def meet(self, tensor: Tensor, literal: bool = False) -> Met:
        """Say which tensor this is; or note it, and say what it is like, if it was not met.

        One that was given other memory, or lies there in another way, behind the back of the
        dispatcher equals none that was met.

        ``literal``: its values are to be told.
        """
        entry = self.entry(tensor)
        if entry is not None:
            _, storage, version = marks_of(tensor)
            start = self.starts.get(storage, 0)
            if entry.storage != storage or not entry.metadata.fits(tensor, start):
                return _MOVED
            return Ref(entry.id, version - entry.version)
        shares = self.sharing(tensor)
        self.has_met_shared |= bool(shares)
        told = bytes_of(tensor) if literal else None
        metadata = metadata_of(tensor, self.start(tensor))
        self.add(tensor, metadata, marks_of(tensor))
        return New(metadata, shares, told)

    def give(self, tensors: Iterable[Tensor]) -> None:
        """Note where in their memory the inputs of the model lie, before they are met."""
        for tensor in tensors:
            storage = storage_identity(tensor)
            if tensor.storage_offset() and storage not in self.tensors.storages:
                self.starts.setdefault(storage, int(tensor.storage_offset()))

    def start(self, tensor: Tensor) -> int:
        """Return the place in a tensor's memory from which its offset is told."""
        return self.starts.get(storage_identity(tensor), 0) if self.starts else 0

    @property
    def weights(self) -> tuple[Any, ...]:
        """The parameters and buffers; None in place of the metadata of one of a special kind."""

        def lies(tensor: Tensor) -> TensorMetadata | None:
            if not is_plain(tensor):
                return None
            metadata = self._weights[identity(tensor)] = metadata_of(tensor)
            return metadata

        return self.tensors.layouts(lies)

    def sharing(self, tensor: Tensor) -> tuple[str, ...]:
        """Return the tensors that lie on the same storage as one that was not met."""
        storage = storage_identity(tensor)
        on_it = self._on_storage.get(storage, ())
        shares = {str(entry.id) for entry in on_it if not entry.ref.expired()}
        if storage in self.tensors.storages:
            shares |= self.tensors.names_on(storage)
        return tuple(sorted(shares))

    def is_outside(self, storage: int) -> bool:
        """Return whether a parameter, a buffer or an input of the model lies on a storage."""
        if storage in self.tensors.storages:
            return True
        for entry in self.entries.values():
            if isinstance(entry.id, int):
                if entry.id > self.given:  # they are in the order in which they were met
                    return False
                if entry.storage == storage:
                    return True
        return False

    def add(
        self,
        tensor: Tensor,
        metadata: TensorMetadata,
        marks: Marks,
        version: int | None = None,
    ) -> None:
        """Note a tensor that was not met.

        Args:
            tensor: any plain tensor.
            metadata, marks: of it.
            version: that of its base when it was met, where the tensor is a view. A view takes
                over the version counter of its base once its operator has returned.
        """
        self.met += 1
        self._enter(tensor, metadata, self.met, marks, version)

    def _enter(
        self, tensor: Tensor, metadata: TensorMetadata, id: Id, marks: Marks, version: int | None
    ) -> KnownTensor:
        key, storage, now = marks
        version = now if version is None else version
        entry = KnownTensor(weak_reference(tensor), id, storage, version, metadata)
        self._on_storage[storage].append(entry)
        self.entries[key] = entry
        return entry

    def skip(self, number: int) -> None:
        """Count tensors that were made where nobody looked, and are gone."""
        self.met += number

    def since(self, met: int) -> list[KnownTensor]:
        """Return the tensors that were noted after so many."""
        late = []
        for entry in reversed(self.entries.values()):
            if isinstance(entry.id, int):
                if entry.id <= met:
                    break
                late.append(entry)
        return late

    def forget(self, met: int) -> None:
        """Forget the tensors that were noted after so many."""
        if met == self.met:
            return
        late = []
        for key, entry in reversed(self.entries.items()):
            if isinstance(entry.id, int):
                if entry.id <= met:
                    break
                late.append(key)
        for key in late:
            entry = self.entries.pop(key)
            self._on_storage[entry.storage].remove(entry)
        self.met = met

    def meet_states(self, tensors: Iterable[Tensor]) -> tuple[Met, ...]:
        """Say which tensors the states of a neuron are, which it keeps."""
        met = self.met
        states = tuple(map(self.meet, tensors))
        self.states_since(met)
        return states

    def states_since(self, met: int) -> None:
        """Note that the tensors that were noted after so many are states of a neuron."""
        self._states.update(range(met + 1, self.met + 1))

    def kept(self, besides: Iterable[Tensor], model: nn.Module) -> tuple[Id, ...]:
        """Return those of the tensors that the model keeps, but for the states of neurons.

        ``besides``: others that are not asked for.
        """
        known = {identity(tensor) for tensor in besides}
        alive = [
            entry
            for key, entry in self.entries.items()
            if key not in known
            and isinstance(entry.id, int)
            and entry.id not in self._states
            and not entry.ref.expired()
        ]
        if not alive:
            return ()
        storages = {storage_of(tensor) for tensor in tensors_of(model)}
        return tuple(entry.id for entry in alive if entry.storage in storages)


_MOVED = Ref("", -1)


def bytes_of(tensor: Tensor) -> bytes:
    """Return the values of a tensor."""
    with unwatched():  # its values are not read by the model
        return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor can be told from others by its address, version and metadata."""
    return (
        tensor.layout == torch.strided
        and not tensor.is_nested
        and not tensor.is_quantized
        and not tensor.is_inference()
        and not tensor.is_meta
        and not is_wrapper(type(tensor))
    )
