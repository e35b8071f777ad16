"""Write results as JSON, for other programs."""

from __future__ import annotations

from syops.show.formats.format import WholeFormat

FORMAT = WholeFormat("json", ".json", lambda result, command: f"{result.to_json()}\n")
