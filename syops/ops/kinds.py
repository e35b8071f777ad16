"""The kinds of rows that a count has."""

from typing import Literal, TypeAlias, get_args

Kind: TypeAlias = Literal[
    "conv",
    "linear",
    "matmul",
    "recurrent",
    "norm",
    "neuron",
    "add",
    "pool",
    "activation",
    "elementwise",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

SYNAPTIC = ("conv", "linear", "matmul", "recurrent")
"""The kinds of rows that make up O_ac and O_mac, together with "norm"."""

BATCH_DIMS = {"conv1d": 3, "conv2d": 4, "conv3d": 5, "linear": 2}
"""Dimensions of a batch without a time axis, by the operator that it is fed to first."""

PLANAR = "conv2d"
"""The convolution of images, in the column of operators."""

LAYERS = ("conv1d", PLANAR, "conv3d", "linear")
"""Layers with one weight for each synapse, in the column of operators."""

BATCH_NORM = "batch_norm"
"""The norm with statistics of the training data, in the column of operators."""

RESAMPLING = ("upsample_", "grid_sampler_", "affine_grid")
"""Operators whose coefficients are not weights: none of them is a first or last layer."""

COUNTED = frozenset({*SYNAPTIC, "norm"})
"""The kinds that the headline figures are made of unless the user asks for more."""

SPIKES = ("binary", "ternary", "scaled")
"""The classes that make an operation an AC: {0,1}, {-1,0,1}, and {0,a} or {-a,0,a}."""

SPARSE = "a sparse matrix, counted as a dense one"
"""Note of a row whose weights lie in a sparse matrix: entries that it lacks count as zeros."""
