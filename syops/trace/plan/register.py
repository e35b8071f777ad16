"""Tell the tensors of a pass from one another: each by the number of its first appearance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from syops._torch import identity, storage_identity, unwatched, version_of, weak_reference
from syops.trace.live import Tensors, storage_of
from syops.trace.plan.events import Id, Met, New, Ref, TensorMetadata, metadata_of
from syops.trace.states import tensors_of


class Entry(NamedTuple):
    """What is known of a tensor that was met.

    Attributes:
        ref: keeps its address from being used again.
        id: which one it is.
        storage: the identity of its memory.
        version: when it was met.
        metadata: of its values.
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
        has_met_shared: one shares memory with another one, though no operator made it a view.
        tensors: see above.
    """

    def __init__(self, tensors: Tensors) -> None:
        self.entries: dict[int, Entry] = {}
        self.met = 0
        self.given = 0
        self.has_met_shared = False
        self.tensors = tensors
        self._states: set[Id] = set()
        self._storages: set[int] = set()

    def entry(self, tensor: Tensor) -> Entry | None:
        """Return what is known of a tensor, if it was met or is a parameter or buffer."""
        entry = self.entries.get(identity(tensor))
        if entry is None:
            named = self.tensors.named(tensor)
            if named is not None:
                entry = self._enter(tensor, metadata_of(tensor), *named)
        return entry

    def meet(self, tensor: Tensor, literal: bool = False) -> Met:
        """Say which tensor this is; or note it, and say what it is like, if it was not met.

        One that was given other memory, or lies there in another way, behind the back of the
        dispatcher equals none that was met.

        ``literal``: its values are to be told.
        """
        entry = self.entry(tensor)
        if entry is not None:
            if entry.storage != storage_identity(tensor) or not entry.metadata.fits(tensor):
                return _MOVED
            return Ref(entry.id, version_of(tensor) - entry.version)
        shares = self._sharing(storage_identity(tensor))
        self.has_met_shared |= bool(shares)
        told = _bytes(tensor) if literal else None
        metadata = metadata_of(tensor)
        self.add(tensor, metadata)
        return New(metadata, shares, told)

    @property
    def weights(self) -> tuple[Any, ...]:
        """The parameters and buffers; None in place of the metadata of one of a special kind."""
        return self.tensors.layouts(lambda x: metadata_of(x) if is_plain(x) else None)

    def _sharing(self, storage: int) -> tuple[str, ...]:
        """Return the tensors that lie on a storage."""
        if storage not in self._storages and storage not in self.tensors.storages:
            return ()
        on_it = (e for e in self.entries.values() if e.storage == storage)
        shares = {str(entry.id) for entry in on_it if not entry.ref.expired()}
        return tuple(sorted(shares | self.tensors.names_on(storage)))

    def is_outside(self, storage: int) -> bool:
        """Return whether a parameter, a buffer or an input of the model lies on a storage."""
        return storage in self.tensors.storages or any(
            entry.storage == storage
            for entry in self.entries.values()
            if isinstance(entry.id, int) and entry.id <= self.given
        )

    def add(self, tensor: Tensor, metadata: TensorMetadata, base: Tensor | None = None) -> None:
        """Note a tensor that was not met.

        Args:
            tensor: any plain tensor.
            metadata: of its values.
            base: a tensor that it is a view of. A view takes over the version counter of its base
                once its operator has returned.
        """
        self.met += 1
        entry = None if base is None else self.entry(base)
        version = version_of(tensor) if entry is None else entry.version
        self._enter(tensor, metadata, self.met, version)

    def _enter(self, tensor: Tensor, metadata: TensorMetadata, id: Id, version: int) -> Entry:
        storage = storage_identity(tensor)
        self._storages.add(storage)
        entry = Entry(weak_reference(tensor), id, storage, version, metadata)
        self.entries[identity(tensor)] = entry
        return entry

    def forget(self, met: int) -> None:
        """Forget the tensors that were noted after so many."""
        if met == self.met:
            return
        for key, entry in reversed(list(self.entries.items())):
            if isinstance(entry.id, int) and entry.id > met:
                del self.entries[key]
        self.met = met

    def meet_states(self, tensors: Iterable[Tensor]) -> tuple[Met, ...]:
        """Say which tensors the states of a neuron are, which it keeps."""
        met = self.met
        states = tuple(map(self.meet, tensors))
        self._states.update(range(met + 1, self.met + 1))
        return states

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


def _bytes(tensor: Tensor) -> bytes:
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
        and not hasattr(type(tensor), "__tensor_flatten__")
    )
