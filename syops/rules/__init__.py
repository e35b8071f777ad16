"""What is known of each operator: what it costs, and which values come out of it.

One small pure function per operator, found by the operator's name. To add an operator, add
one function to the file that fits: `synaptic`, `elementwise`, `shape` or `other`.
"""

from syops.rules.base import Call, Cost, Free, Normalisation, Operand, Product, Rule, Tally
from syops.rules.registry import find

__all__ = [
    "Call",
    "Cost",
    "Free",
    "Normalisation",
    "Operand",
    "Product",
    "Rule",
    "Tally",
    "find",
]
