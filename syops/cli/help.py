"""Define how commands explain themselves: a summary, an example, and completion in the shell."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem


class Command(click.Command):
    """A command whose summary is shown whole in the list of commands."""

    def get_short_help_str(self, limit: int = 0) -> str:
        """Return the first paragraph of its help."""
        return " ".join(inspect.cleandoc(self.help or "").partition("\n\n")[0].split())


def command(example: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of a function whose help ends with an example."""

    def decorate(function: Callable[..., None]) -> click.Command:
        told = inspect.cleandoc(function.__doc__ or "")
        text = f"{told}\n\n\b\nExample:\n  {example}"
        return click.command(cls=Command, help=text)(function)

    return decorate


Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completes(names: Callable[[], Iterable[str]]) -> Complete:
    """Return what completes one of some names in the shell, or a file where none begins so."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]

    return complete
