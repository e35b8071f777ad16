"""Private names of torch are used in one file, which gives the reason for each."""

import ast
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import syops
from syops import _torch

ROOT = Path(syops.__file__).parent
HOME = ROOT / "_torch.py"
FILES = sorted(path for path in ROOT.rglob("*.py") if path != HOME)


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


MODULES = {name for name in dir(nn.Conv2d(1, 1, 1)) if is_private(name)}
"""Private attributes of modules."""
ATTRIBUTES = MODULES.union(
    name
    for each in (
        *(torch, torch.ones(1), torch.ones(1).untyped_storage(), torch.overrides),
        *(torch.ops.aten.add, torch.ops.aten.add.Tensor, torch.cond, torch.ops.higher_order),
        *(_torch.DispatchMode, TorchFunctionMode),
    )
    for name in dir(each)
    if is_private(name)
)
"""Private attributes of what code may get hold of by public names of torch."""


def chain_of(node):
    """The dotted names of an attribute; "" stands for what is not a name at its start."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id if isinstance(node, ast.Name) else "", *reversed(names)]


def own_names(tree):
    """Private names that a file defines: functions, classes, attributes of `self`, fields."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def from_torch(tree):
    """The names by which a file has torch and what it imports from torch."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (n.asname or "torch" for n in names if n.name.split(".")[0] == "torch")
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "torch":
                yield from (n.asname or n.name for n in names)


def private_names(source, own=frozenset()):
    """The private names of torch in a source text, with their lines.

    ``own``: private names that the package defines, which `self` and classes may have.
    """
    tree = ast.parse(source)
    torchs = set(from_torch(tree))
    for node in ast.walk(tree):
        used = []
        match node:
            case ast.Import(names=names):
                dotted = [alias.name.split(".") for alias in names]
                used = [part for first, *rest in dotted if first == "torch" for part in rest]
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "torch":
                used = [*module.split("."), *(alias.name for alias in names)]
            case ast.Attribute(attr=name):
                first, *rest = chain_of(node)
                if "aten" in rest:  # names of operators are not private API
                    continue
                if first in torchs:
                    used = rest
                elif name in ATTRIBUTES and not (first in ("self", "cls") and name in own):
                    used = [name]
            case ast.FunctionDef(name=name) if name in ATTRIBUTES and name not in own:
                used = [name]
            case ast.Constant(value=str(name)) if name in MODULES:  # for `vars` and `getattr`
                used = [name]
        yield from ((node.lineno, name) for name in used if is_private(name))


def test_private_names_of_torch_are_in_one_file():
    own = {name for path in FILES for name in own_names(ast.parse(path.read_text()))}
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in FILES
        for line, name in private_names(path.read_text(), own)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import torch\ntorch._C._len_torch_dispatch_stack()", "_C"),
        ("import torch._dynamo", "_dynamo"),
        ("from torch import nn\nnn.modules.conv._ConvNd", "_ConvNd"),
        ("from torch.utils._pytree import tree_map", "_pytree"),
        ("from torch.nn.modules.batchnorm import _BatchNorm", "_BatchNorm"),
        ("key = tensor._cdata", "_cdata"),
        ("key = f(tensor)[0]._version", "_version"),
        ("func._schema.arguments", "_schema"),
        ("tables = vars(module)['_forward_hooks']", "_forward_hooks"),
        ("module._parameters.values()", "_parameters"),
        ("self._call_impl(x)", "_call_impl"),
        ("class A:\n def _conv_forward(self): pass", "_conv_forward"),
    ],
)
def test_private_names_are_recognised(source, name):
    assert name in {found for _, found in private_names(source)}


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.ops.aten._softmax.default",
        "self._values = values",
        "from torch import nn\nnn.Linear(1, 1).weight",
        "sys._getframe(1)",
    ],
)
def test_names_that_are_not_private_api_of_torch(source):
    assert not list(private_names(source, own={"_values"}))
