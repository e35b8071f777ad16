"""The result: exact counts of a network on data, per layer, and the energy that follows.

Plain data, no torch. A report can be saved, loaded, merged and printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from syops.energy import EnergyModel
from syops.errors import SyopsValueError
from syops.ledger import COUNTED, KINDS, Drive, Row, Verdict, merge_rows, row_names
from syops.signals import Evidence, Seen

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Version of the JSON layout."""

COLUMNS = (
    *("name", "kind", "signal", "calls", "params", "rate", "dense"),
    *("ac", "ac_events", "mac", "energy_mj", "share", "dense_ac", "folded"),
)
PJ_PER_MJ = 1e9


@dataclass(frozen=True)
class Totals:
    """Exact sums over all samples; ``ac`` is a fraction."""

    ac: Fraction
    ac_events: int
    mac: int
    dense_ac: int


@dataclass(frozen=True)
class Layer:
    """One row of a report. Counts and energy are per sample.

    Attributes:
        name: the module's path, with the operator where one module has several rows.
        path: the module's path, "" for the model itself.
        kind: "conv", "linear", "matmul", "recurrent"; "norm"; or, outside the totals unless
            asked for, "neuron", "add", "pool", "activation", "elementwise".
        operator: what was executed, such as "conv2d".
        signal: class of the input: "binary", "ternary", "scaled", "graded" or "analog"; "" for
            rows that are not synaptic.
        calls: how often it was executed, over all samples.
        params: number of parameters of the module, told by its first row.
        rate: firing rate of the input, None where it is not a spike tensor.
        dense: what a dense engine would do.
        ac: accumulates, firing rate · dense.
        ac_events: accumulates, the fan-out of every single spike.
        mac: multiply-accumulates.
        energy_mj: energy in mJ, at ``ac`` or ``ac_events`` as the conventions say.
        share: of the network's DC.
        dense_ac: accumulates at firing rate 1.
        ec_mj: energy in mJ at the firing rates 0 and 1.
        folded: the layer into which this normalisation was folded.
        counted: whether it is inside the totals.
        note: what a reader should know about it.

    Where nothing was measured, rate, ac, ac_events, energy_mj and share are None.
    """

    name: str
    path: str
    kind: str
    operator: str
    signal: str
    calls: int
    params: int
    rate: float | None
    dense: float
    ac: float | None
    ac_events: float | None
    mac: float
    energy_mj: float | None
    share: float | None
    dense_ac: float
    ec_mj: tuple[float, float]
    folded: str | None
    counted: bool
    note: str = ""


@dataclass(frozen=True)
class Report:
    """What `get_model_syops` and `get_model_bounds` return.

    Attributes:
        model: class name of the model.
        rows: the exact counts, as `syops.ledger.Row`.
        samples: number of samples counted; headline figures are divided by it.
        energy: costs of an AC and a MAC.
        time_steps: T, or None where it is not known.
        params: number of parameters of the model.
        input_shape: of the first input of the first batch.
        ann_mac: multiply-accumulates per sample of the same network as an ANN (one time-step,
            every synaptic operation a MAC), or None where T is not known.
        conventions: fold_bn, graded, ac, batch_dim, input_signal.
        versions: of syops and the libraries it counted with.
        unaccounted: operators without a rule and where they were met, with their calls.
        notes: what a reader should know.
        kinds: the kinds of rows inside the totals.
        measured: whether spikes were counted. Without data there are O_mac, ``dense_ac`` and EC;
            firing rates, ACs, DC and what follows from them are None.
    """

    model: str
    rows: tuple[Row, ...]
    samples: int
    energy: EnergyModel
    time_steps: int | None = None
    params: int = 0
    input_shape: tuple[int, ...] = ()
    ann_mac: Fraction | None = None
    conventions: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    unaccounted: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kinds: frozenset[str] = COUNTED
    measured: bool = True

    # Headline figures, per sample

    @property
    def ac(self) -> float | None:
        """O_ac: accumulates per sample, Σ firing rate · dense."""
        return float(self.totals.ac / self.samples) if self.measured else None

    @property
    def ac_events(self) -> float | None:
        """Accumulates per sample, counting the fan-out of every single spike."""
        return self.totals.ac_events / self.samples if self.measured else None

    @property
    def priced_ac(self) -> float | None:
        """The accumulates that the DC is made of: `ac` or `ac_events`, as the conventions say."""
        return self.ac_events if self.conventions.get("ac") == "events" else self.ac

    @property
    def mac(self) -> float:
        """O_mac: multiply-accumulates per sample."""
        return self.totals.mac / self.samples

    @property
    def dense_ac(self) -> float:
        """What `ac` would be if every neuron fired at every time-step."""
        return self.totals.dense_ac / self.samples

    @property
    def dc_mj(self) -> float | None:
        """Dynamic consumption in mJ per sample, Eq. (7): E_ac · O_ac + E_mac · O_mac."""
        ac = self.priced_ac
        return None if ac is None else self._mj(ac, self.mac)

    @property
    def ec_mj(self) -> tuple[float, float]:
        """Estimated consumption in mJ per sample, Eq. (15): the energy at firing rates 0 and 1."""
        return self._mj(0, self.mac), self._mj(self.dense_ac, self.mac)

    @property
    def energy_ratio(self) -> float | None:
        """E(SNN) / E(ANN), Eq. (6); None where T is not known."""
        dc = self.dc_mj
        if self.ann_mac is None or dc is None:
            return None
        ann = self._mj(0, float(self.ann_mac))
        return dc / ann if ann else None

    @cached_property
    def totals(self) -> Totals:
        """The exact sums over all samples and all rows inside the totals."""
        verdicts = [v for row, v in self._verdicts if row.kind in self.kinds]
        return Totals(
            sum((v.ac for v in verdicts), Fraction(0)),
            sum(v.ac_events for v in verdicts),
            sum(v.mac for v in verdicts),
            sum(v.dense_ac for v in verdicts),
        )

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The rows, classed and divided by the number of samples."""
        return tuple(
            self._layer(name, row, verdict)
            for name, (row, verdict) in zip(
                row_names(self.rows, self.model), self._verdicts, strict=True
            )
        )

    def select(self, kinds: Iterable[str]) -> Report:
        """The same report with other kinds of rows inside its totals, DC and EC.

        Args:
            kinds: any of "conv", "linear", "matmul", "recurrent", "norm", "neuron", "add",
                "pool", "activation", "elementwise".

        Raises:
            SyopsValueError: an unknown kind.
        """
        chosen = frozenset([kinds] if isinstance(kinds, str) else kinds)
        if unknown := chosen - set(KINDS):
            raise SyopsValueError(
                f"kinds: no such kind: {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}"
            )
        return replace(self, kinds=chosen)

    def merge(self, other: Report) -> Report:
        """The report of both data sets together. Exact, and independent of the order.

        Raises:
            SyopsValueError: the reports are of different models, conventions or energy models.
        """
        same = ("model", "params", "conventions", "energy", "time_steps", "kinds", "measured")
        for what in same:
            if getattr(self, what) != getattr(other, what):
                raise SyopsValueError(
                    f"reports with different {what} cannot be merged: "
                    f"{getattr(self, what)!r} and {getattr(other, what)!r}"
                )
        unaccounted = dict(self.unaccounted)
        for operator, calls in other.unaccounted.items():
            unaccounted[operator] = unaccounted.get(operator, 0) + calls
        notes = (*self.notes, *(note for note in other.notes if note not in self.notes))
        ann = self.ann_mac
        if ann is not None and other.ann_mac is not None:
            ann = (ann * self.samples + other.ann_mac * other.samples) / (
                self.samples + other.samples
            )
        return replace(
            self,
            rows=merge_rows(self.rows, other.rows),
            samples=self.samples + other.samples,
            unaccounted=unaccounted,
            notes=notes,
            ann_mac=ann if other.ann_mac is not None else None,
        )

    # Forms

    def to_frame(self, totals: bool = False) -> pd.DataFrame:
        """The layers as a pandas table, one line a row.

        Args:
            totals: exact sums over all samples (integers; ``ac`` as a fraction) instead of
                figures per sample.
        """
        import pandas as pd

        lines = [{column: getattr(layer, column) for column in COLUMNS} for layer in self.layers]
        if totals:
            for line, (row, verdict) in zip(lines, self._verdicts, strict=True):
                line |= {
                    "dense": row.dense,
                    "mac": verdict.mac,
                    "dense_ac": verdict.dense_ac,
                }
                if self.measured:
                    line |= {
                        "ac": verdict.ac,
                        "ac_events": verdict.ac_events,
                        "energy_mj": line["energy_mj"] * self.samples,
                    }
        return pd.DataFrame(lines, columns=list(COLUMNS))

    def to_json(self) -> str:
        """The report as JSON; `from_json` gives an equal one back."""
        names = ("ac", "ac_events", "mac", "dense_ac", "dc_mj", "ec_mj", "energy_ratio")
        headline = {name: getattr(self, name) for name in names}
        totals = {name: _plain(value) for name, value in asdict(self.totals).items()}
        if not self.measured:
            totals |= {"ac": None, "ac_events": None}
        content = {
            "schema": SCHEMA,
            "model": self.model,
            "measured": self.measured,
            "samples": self.samples,
            "time_steps": self.time_steps,
            "params": self.params,
            "input_shape": self.input_shape,
            "per_sample": headline,
            "totals": totals,
            "ann_mac": _plain(self.ann_mac),
            "energy": asdict(self.energy),
            "conventions": dict(self.conventions),
            "versions": dict(self.versions),
            "unaccounted": dict(self.unaccounted),
            "notes": self.notes,
            "kinds": sorted(self.kinds),
            "layers": [asdict(layer) for layer in self.layers],
            "rows": [_row_to_json(row) for row in self.rows],
        }
        return json.dumps(content, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """A report from what `to_json` gave.

        Raises:
            SyopsValueError: the text is not a report, or one of a newer schema version.
        """
        try:
            content = json.loads(text)
            schema = content["schema"]
        except (ValueError, TypeError, KeyError) as error:
            raise SyopsValueError(f"this is not a syops report: {error!r}") from error
        if schema != SCHEMA:
            raise SyopsValueError(
                f"the report has schema version {schema!r}, this syops reads {SCHEMA}; "
                "use the version of syops that wrote it"
            )
        try:
            ann_mac = content["ann_mac"]
            return cls(
                model=content["model"],
                rows=tuple(_row_from_json(row) for row in content["rows"]),
                samples=content["samples"],
                energy=EnergyModel(**content["energy"]),
                time_steps=content["time_steps"],
                params=content["params"],
                input_shape=tuple(content["input_shape"]),
                ann_mac=None if ann_mac is None else Fraction(ann_mac),
                conventions=content["conventions"],
                versions=content["versions"],
                unaccounted=content["unaccounted"],
                notes=tuple(content["notes"]),
                kinds=frozenset(content["kinds"]),
                measured=content["measured"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SyopsValueError(f"the report is damaged: {error!r}") from error

    def __str__(self) -> str:
        from syops.render import render_table

        return render_table(self)

    @cached_property
    def _verdicts(self) -> list[tuple[Row, Verdict]]:
        graded = str(self.conventions.get("graded", "mac"))
        return [(row, row.verdict(graded)) for row in self.rows]

    def _layer(self, name: str, row: Row, verdict: Verdict) -> Layer:
        samples = self.samples
        mac, dense_ac = verdict.mac / samples, verdict.dense_ac / samples
        rate, ac, events, energy, share = None, None, None, None, None
        counted = row.kind in self.kinds
        if self.measured:
            rate = None if verdict.rate is None else float(verdict.rate)
            ac, events = float(verdict.ac / samples), verdict.ac_events / samples
            energy = self._mj(events if self.conventions.get("ac") == "events" else ac, mac)
            share = energy / self.dc_mj if counted and self.dc_mj else 0.0
        return Layer(
            name=name,
            path=row.path,
            kind=row.kind,
            operator=row.operator,
            signal=verdict.signal,
            calls=row.calls,
            params=row.params,
            rate=rate,
            dense=row.dense / samples,
            ac=ac,
            ac_events=events,
            mac=mac,
            energy_mj=energy,
            share=share,
            dense_ac=dense_ac,
            ec_mj=(self._mj(0, mac), self._mj(dense_ac, mac)),
            folded=row.folded,
            counted=counted,
            note=row.note,
        )

    def _mj(self, ac: float, mac: float) -> float:
        return self.energy.energy_pj(ac, mac) / PJ_PER_MJ


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Fraction) else value


def _row_to_json(row: Row) -> dict[str, Any]:
    content = {name: _plain(getattr(row, name)) for name in _ROW_FIELDS}
    content["drives"] = [_drive_to_json(drive) for drive in row.drives]
    return content


def _row_from_json(content: Mapping[str, Any]) -> Row:
    values = {name: content[name] for name in _ROW_FIELDS}
    values["joint_ac"] = Fraction(values["joint_ac"])
    values["drives"] = tuple(_drive_from_json(drive) for drive in content["drives"])
    return Row(**values)


_ROW_FIELDS = tuple(name for name in Row.__dataclass_fields__ if name != "drives")
_DRIVE_FIELDS = tuple(name for name in Drive.__dataclass_fields__ if name != "evidence")


def _drive_to_json(drive: Drive) -> dict[str, Any]:
    evidence = drive.evidence
    content = {name: _plain(getattr(drive, name)) for name in _DRIVE_FIELDS}
    content["evidence"] = {
        "analog": evidence.analog,
        "integer": evidence.integer,
        "derived": sorted(evidence.derived),
        "seen": asdict(evidence.seen) if evidence.seen else None,
    }
    return content


def _drive_from_json(content: Mapping[str, Any]) -> Drive:
    values = {name: content[name] for name in _DRIVE_FIELDS}
    values["ac"], values["graded_ac"] = Fraction(values["ac"]), Fraction(values["graded_ac"])
    evidence = content["evidence"]
    seen = evidence["seen"]
    return Drive(
        evidence=Evidence(
            evidence["analog"],
            evidence["integer"],
            frozenset((scale, value) for scale, value in evidence["derived"]),
            Seen(**seen) if seen else None,
        ),
        **values,
    )
