"""Tell which operators treat the positions along a dimension alike, beside what their rules say."""

from __future__ import annotations

import re

import torch

LIKE = ("zeros_like", "ones_like")
"""Operators whose result has the dimensions of what they are given."""

REDUCTIONS = ("mean", "sum", "amax", "amin")
"""Operators that sum some dimensions up, and leave the others."""

SOFTMAX = "_softmax"
"""The operator that mixes the positions along one dimension alone."""

BATCHED = (
    "bmm",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)
"""Products of activations, each position along the first dimensions for itself."""

LAST = re.compile(r"(?:pool|pad|upsample_\D*)(\d)d")
"""Operators that change the last dimensions, so many, and do for the others what they do."""

STACK = torch.ops.aten.stack.default
"""The operator that puts tensors side by side along a new dimension."""
