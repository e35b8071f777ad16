"""Define what a rule sees of an operator call, and what it may answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, lru_cache
from typing import Any, Never

import torch
from torch import Tensor

from syops._torch import schema_of, tree_leaves
from syops.errors import SyopsLookupError, did_you_mean
from syops.ops.fanout import FanOut
from syops.ops.values import ANALOG, LEARNED, UNKNOWN, Atoms, Signal, constant


@dataclass(frozen=True, slots=True)
class Derivation:
    """Say how a learned tensor was computed: equal names are equal tensors.

    ``values`` are all that it can hold, where they are few: a mask.
    """

    name: str
    values: tuple[int, ...] = ()


_NEEDED: Any = object()
"""In place of a default: an argument has to exist."""


@dataclass(slots=True)
class Call:
    """Hold one operator call: its arguments, its result, and the signals of its tensors.

    ``tensors`` are all tensors among the arguments, in order;
    ``signals`` maps ``id(tensor)`` to the signal that the tensor had *before* the call;
    ``name`` gives the name of a parameter or buffer that a tensor is, or is a view of, else "";
    ``recipe`` tells how a learned tensor was computed from parameters, where that is known;
    ``numbers_from_data`` says that the model has read numbers out of its data (``x.item()``),
    so that a Python number need not be a constant.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    tensors: list[Tensor]
    signals: dict[int, Signal]
    atoms: Atoms
    name: Callable[[Tensor], str]
    numbers_from_data: bool = False
    recipe: Callable[[Tensor], Derivation | None] = lambda tensor: None
    outputs: list[Tensor] = field(init=False)
    """All tensors among the results, in order."""

    def __post_init__(self) -> None:
        self.outputs = tensors_in((self.out,))

    def signal(self, tensor: Tensor) -> Signal:
        return self.signals[id(tensor)]

    def arg(self, name: str, default: Any = _NEEDED) -> Any:
        """Return the argument called ``name`` in the operator's schema.

        Raises:
            SyopsLookupError: there is none of that name, and no ``default``.
        """
        if name in self.kwargs:
            return self.kwargs[name]
        found = _argument(self.func, name)
        if found is None:
            return self._without(name) if default is _NEEDED else default
        position, argument = found
        if position < len(self.args):
            return self.args[position]
        if argument.has_default_value():
            return argument.default_value
        return None if default is _NEEDED else default

    def _without(self, name: str) -> Never:
        known = [argument.name for argument in schema_of(self.func).arguments]
        raise SyopsLookupError(
            f"{self.func.name()} has no argument {name!r}; {did_you_mean(name, known)}"
            f"known: {', '.join(known) or 'none'}"
        )

    def constant(self, value: Any) -> Signal:
        """Return the signal of a Python number as it is found in the result's dtype.

        A number that is not whole need not be a constant where the model reads its data; whole
        ones are taken for constants.
        """
        number = torch.tensor(value, dtype=self.out.dtype, device="cpu").item()
        if isinstance(number, complex) or not math.isfinite(number):
            return ANALOG
        if self.numbers_from_data and not float(value).is_integer():
            return ANALOG
        return constant(number)

    @property
    def geometry(self) -> Hashable:
        """Return the operator and all its arguments that are not tensors' values."""
        return (self.func.name(), _freeze(self.args), _freeze(tuple(self.kwargs.items())))


@cache
def _argument(func: Any, name: str) -> tuple[int, Any] | None:
    """Return the argument of a name in an operator's schema, and its place; None without one."""
    arguments = enumerate(schema_of(func).arguments)
    return next((found for found in arguments if found[1].name == name), None)


class Number(tuple[str, Any]):
    """Hold a number in the key of a cache, with how it is written.

    1, 1.0 and True are equal, as are 0.0 and -0.0, but operators tell them apart.
    """

    def __new__(cls, value: bool | int | float | complex) -> Number:
        return super().__new__(cls, (repr(value), value))

    @property
    def value(self) -> Any:
        return self[1]


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """Return the tensors among the values and in lists and tuples among them, in order."""
    found: list[Tensor] = []
    for value in values:
        if type(value) in _PLAIN:  # most arguments, and quicker told than a tensor
            continue
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_in(value)
    return found


_PLAIN = {int, float, bool, type(None)}


def input_tensors(args: Iterable[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors that a model is called with, also in dicts and the like, in order."""
    leaves = tree_leaves((tuple(args), dict(kwargs)))
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _freeze(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(item) for item in value)
    return value if isinstance(value, Hashable) else repr(value)


@dataclass(frozen=True, slots=True)
class Operand:
    """Hold a tensor whose spikes drive a product, and how many synapses each spike reaches.

    ``channel`` is the dimension along which the input channels of weights lie; None: it meets
    no weights. ``signal`` says what a tensor holds that the rule itself made.
    """

    tensor: Tensor
    fan_out: FanOut
    channel: int | None = None
    signal: Signal | None = None


@dataclass(frozen=True, slots=True)
class Kernel:
    """Say how channels lie in weights: what one needs to know to change these.

    Attributes:
        outputs, inputs: the dimensions along which they lie.
        groups: how many parts dimension 0 has that are connected each for itself.
        transposed: whether they are those of a transposed convolution.
        even: whether all outputs of a channel see the same of each input channel: nothing is
            padded.
        bias: what is added to the result, one value for each output channel.
    """

    outputs: int
    inputs: int
    groups: int = 1
    transposed: bool = False
    even: bool = True
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Product:
    """Describe a synaptic operation: weights (or a second activation) applied to inputs.

    ``dense`` is the number of operations a dense engine does. One operand: the other side are
    weights. Two operands: a product of two activations, ``pairs`` giving its coincidences as
    (left [batch, m, k], right [batch, k, n]). None: an analog product throughout.
    ``channel`` is the dimension of the result along which the weights differ; ``weight`` the
    name of the parameter, where it is one: two weights used at one call site are two rows.
    ``applied`` is what is applied to the input, weights or the right one of two activations;
    ``written`` the number of elements of the result; ``kernel`` how channels lie in ``applied``,
    where these are weights; ``prepared`` says that both factors are weights, so that it need not
    be done for each sample. ``stride`` and ``groups`` are those of a convolution.
    """

    kind: str
    operator: str
    dense: int
    operands: tuple[Operand, ...]
    pairs: tuple[Tensor, Tensor] | None = None
    channel: int | None = None
    weight: str = ""
    applied: Tensor | None = None
    written: int = 0
    kernel: Kernel | None = None
    prepared: bool = False
    stride: tuple[int, ...] = ()
    groups: int = 1

    @property
    def is_plain(self) -> bool:
        """Return whether it is one product of matrices, and no part of anything that has a name."""
        return self.operator == self.kind


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Describe a normalisation of ``elements`` values along channel dimension 1 of ``input``.

    ``affine`` says that it is a fixed scale and shift per channel, which can be folded. Any other
    one mixes the positions along all dimensions but those of ``apart``.
    """

    operator: str
    elements: int
    input: Tensor
    affine: bool
    apart: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """Describe work outside the synapses, whose operations follow from shapes.

    Attributes:
        kind: the kind of its row, such as "neuron", "add", "pool" or "activation".
        operator: the name of its row.
        ac: accumulates of the call.
        mac: multiply-accumulates of the call.
        prepared: it is work on weights alone, which need not be done for each sample.

    Examples:
        >>> Tally("neuron", "fire", mac=128).mac
        128
    """

    kind: str
    operator: str
    ac: int = 0
    mac: int = 0
    prepared: bool = False


Cost = Product | Normalisation | Tally
SignalRule = Callable[[Call], Signal | Sequence[Signal]]
CostRule = Callable[[Call], Sequence[Cost]]


@dataclass(frozen=True, slots=True)
class Free:
    """Say that an operator costs nothing, and why.

    Attributes:
        reason: why, in a few words.

    Examples:
        >>> Free("a copy").reason
        'a copy'
    """

    reason: str

    def __call__(self, call: Call) -> Sequence[Cost]:
        return ()


Piece = tuple[int, int, int] | None
"""(dimension, start, stop) of a part of a tensor; None for one that is not an interval."""

ChannelRule = Callable[[Sequence[Any], Tensor, Tensor, int], int | None]
"""Where a dimension goes, from the arguments, the operand, a result and the dimension.

None where it is not a dimension any more. Positions along it stay as they are.
"""
PieceRule = Callable[[Sequence[Any], Tensor, Tensor, int], Piece]
"""Which part of the operand a result is: from arguments, operand, result, and which one it is."""


class Softmax(Enum):
    """Say whether a softmax is one that nothing but an attention takes."""

    ANY = "any"
    OF_ATTENTION = "of attention"


@dataclass(frozen=True, slots=True)
class Rule:
    """Hold what is known of one operator: the values that it gives, and its cost.

    Most rules need the first two attributes alone. All others are False or None by default.

    Attributes:
        signal: a function of the `Call`: the values that its results can hold, as one signal for
            all results or one for each. `analog`, `binary` and `unknown` are such functions.
        cost: a function of the `Call`: a list of `Product` and `Tally`; or `Free`.
        moves: it moves or copies values without computing with them.
        counted: its cost is part of O_ac and O_mac.

    Attributes of operators that pass values on:

    Attributes:
        geometry: it changes nothing but the shape, also in place.
        in_order: it keeps the order of the elements.
        whole: it leaves out none of the values, and adds none.
        casts: it changes the dtype at most.
        joins: it puts its operands side by side.
        repeats: it may hand on several copies of one value.
        pads: it puts a border around its operand, which may be of width 0.
        channel: where a dimension goes; None: the dimension is not followed further.
        piece: which part of its operand a result is; None: that is not known.

    Attributes of operators that write or make values:

    Attributes:
        overwrites: in place, it leaves nothing of the values of its target.
        places: in place, it writes values at some positions and does not read the others.
        lifts: it makes a tensor from a value of Python.
        tells: its result is a value of Python, read from tensors.
        values: all values that its results can hold, whatever it reads.
        compares: its results say on which side of a threshold values lie.
        symbol: how it is written between two operands.
        adds: it adds one operand to another; a learned operand is a bias.
        scales: it multiplies with a number, as an attention does.
        softens: it is a softmax.
        observes: its other operands are statistics, which decide how it rounds the first operand
            and may be updated: rounded weights are weights.
        own: it is a rule of the user, and may look at values.

    Examples:
        >>> Rule(lambda call: call.atoms.fresh((0, 1)), Free("a comparison")).cost.reason
        'a comparison'
    """

    signal: SignalRule
    cost: CostRule
    moves: bool = False
    counted: bool = False
    geometry: bool = False
    in_order: bool = False
    whole: bool = False
    casts: bool = False
    joins: bool = False
    repeats: bool = False
    pads: bool = False
    channel: ChannelRule | None = None
    piece: PieceRule | None = None
    overwrites: bool = False
    places: bool = False
    lifts: bool = False
    tells: bool = False
    values: tuple[int, ...] = ()
    compares: bool = False
    symbol: str = ""
    adds: bool = False
    scales: bool = False
    softens: Softmax | None = None
    observes: bool = False
    own: bool = False


def analog(call: Call) -> Signal:
    """Return the signal of real values; of weights, where all that was read are weights."""
    if call.tensors and all(call.signal(tensor) is LEARNED for tensor in call.tensors):
        return LEARNED
    return ANALOG


def unknown(call: Call) -> Signal:
    """Return the signal of values to look at; of weights, where all that was read are weights."""
    return LEARNED if analog(call) is LEARNED else UNKNOWN


COPY, VIEW, COMPARES = Free("a copy"), Free("a view"), Free("compares")


def tallied(
    call: Call, kind: str, operator: str = "", *, ac: int = 0, mac: int = 0
) -> Sequence[Tally]:
    """Describe work outside the synapses, by the operator's own name if no other is given."""
    return _tallies(kind, operator or canonical(call.func), ac, mac)


@lru_cache(maxsize=4096, typed=True)
def _tallies(kind: str, operator: str, ac: int, mac: int) -> Sequence[Tally]:
    return (Tally(kind, operator, ac, mac),)


@cache
def canonical(func: Any) -> str:
    """Return the name by which rules are found: ``aten.add_.Tensor`` -> ``add``.

    Operators of other libraries keep their whole name, such as ``my::add``.
    """
    whole = schema_of(func).name
    namespace, _, name = whole.partition("::")
    if namespace not in ("aten", "prims"):
        return whole
    is_dunder = name.startswith("__")
    return name if is_dunder else name.rstrip("_")
