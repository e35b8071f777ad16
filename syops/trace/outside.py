"""Note the tensors that a pass reads and that were made where nobody could see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from syops._torch import identity, weak_reference
from syops.trace.states import tensors_of


class Outside:
    """The tensors of one pass that come from outside of it.

    Args:
        model: the network, which keeps some of them.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._read_in: dict[int, tuple[str, Any]] = {}
        self._held: tuple[Tensor, ...] = ()

    def note(self, tensor: Tensor, path: str) -> None:
        """Note that the module of that path reads a tensor that comes from outside."""
        if not self._read_in:  # its states, most of which it will have replaced in the end
            self._held = tuple(tensors_of(self._model))
        # The reference keeps the address from being used again, by what the model does keep.
        self._read_in.setdefault(identity(tensor), (path, weak_reference(tensor)))

    def unseen(self, besides: Sequence[Tensor]) -> tuple[str, ...]:
        """Return the modules that read tensors which the model does not keep.

        ``besides``: tensors that are not such tensors either.
        """
        if not self._read_in:
            return ()
        held = (*besides, *self._held, *tensors_of(self._model))
        known = {identity(tensor) for tensor in held}
        return tuple(path for key, (path, _) in self._read_in.items() if key not in known)
