"""Keep what the passes of one count taught: a tree of their events."""

from __future__ import annotations

from typing import Any

from syops.trace.account import Account
from syops.trace.gauge import Maps
from syops.trace.plan.events import Event

_MOST = 64
"""Passes that departed from the tree and were added to it, each with as much as it did."""


class Plans:
    """What the passes of one count taught.

    Attributes:
        root: the tree of their events.
        maps: of their gauges.
    """

    def __init__(self) -> None:
        self.root = PlanNode()
        self.maps: Maps = {}
        self._kept = 0
        self._departed = 0

    @property
    def is_worth_it(self) -> bool:
        """Whether passes keep to the tree often enough to look there."""
        return self._departed < 8 or self._departed < self._kept

    @property
    def has_room(self) -> bool:
        """Whether passes that depart from the tree are added to it."""
        return self._departed <= _MOST

    def followed(self, to_its_end: bool) -> None:
        """Note whether a pass kept to the tree or departed from it."""
        self._kept += to_its_end
        self._departed += not to_its_end


class PlanNode:
    """An event of a pass, and those that have come after it."""

    __slots__ = ("end", "event", "layers", "next", "parent")

    def __init__(self, event: Event | None = None, parent: PlanNode | None = None) -> None:
        self.event = event
        self.parent = parent
        self.next: list[PlanNode] = []
        self.end: Account | None = None
        """What a pass that ends here comes to."""
        self.layers: dict[str, Any] = {}
        """By path what a layer does that is called here, once that is known; see `Layer`."""

    def after(self, event: Event) -> PlanNode | None:
        """Return the node of an event, if an equal one has come next before."""
        return next((node for node in self.next if node.event == event), None)

    def add(self, event: Event) -> PlanNode:
        """Return the node of an event that has not come next before."""
        node = PlanNode(event, self)
        self.next.append(node)
        return node

    def path(self, after: PlanNode | None = None) -> list[Event]:
        """Return the events up to this one, from the first one on, or that after an ancestor."""
        events, node = [], self
        while node is not after and node.event is not None and node.parent is not None:
            events.append(node.event)
            node = node.parent
        return events[::-1]
