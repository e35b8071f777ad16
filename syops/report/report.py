"""Define `Report`: the figures of a network, with ways to show and to keep them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from syops.cost.chips import Chip, get_chip
from syops.cost.conventions import AnyConvention
from syops.cost.figures import Figures
from syops.cost.memory import MemoryModel
from syops.cost.menu.setting import Setting
from syops.cost.warnings import Caution, find_cautions
from syops.errors import SyopsTypeError, SyopsValueError, shown
from syops.files import read_text, write_text
from syops.report.baselines import Baselines
from syops.report.conventions import Conventions, conventions_named
from syops.report.fit import Fit
from syops.report.memory import Memory
from syops.report.menu import EnergyMenu
from syops.report.neurons import NeuronReport
from syops.report.training import Training
from syops.report.zeros import ZeroReport
from syops.show.formats import FORMATS
from syops.show.formats.csv import to_csv
from syops.show.formats.html import to_html
from syops.show.formats.latex import to_latex
from syops.show.formats.markdown import to_markdown
from syops.show.formats.text import to_text
from syops.show.frame import frame_of, rates_frame_of, spread_frame_of
from syops.show.html import to_notebook, to_page
from syops.show.json import figures_from_json, to_json
from syops.show.layers import dearest_column, layer_table, shown_columns
from syops.show.methods import methods
from syops.show.table import ALL
from syops.show.tabular import Arrangement, Table, Tabular
from syops.units import read_time

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from syops.show.plots.layers import Plot, Scale


_SUFFIXES = {each.suffix: name for name, each in FORMATS.items()}
"""The names of formats, by the suffix of files in them."""


@dataclass(frozen=True, repr=False)
class Report(Figures, Tabular):
    """Show the counts and energies that `get_model_syops` and `get_model_bounds` return.

    Examples:
        >>> from torch import nn
        >>> from syops import get_model_bounds
        >>> network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        >>> report = get_model_bounds(network, (1, 4), input_signal="analog")
        >>> report.table(columns="layer,O_mac", sort="O_mac").rows
        (('0', 32.0), ('1', 16.0))
        >>> report.mac, report.select(["linear", "neuron"]).mac
        (48.0, 48.0)
        >>> report.priced("horowitz45-int8").ec_mj < report.ec_mj
        True
        >>> Report.from_json(report.to_json()) == report
        True
    """

    @cached_property
    def warnings(self) -> tuple[Caution, ...]:
        """Whatever may make these figures mislead, the worst first.

        Every format shows the warnings before the figures. ``str`` of a warning is a sentence; its
        ``kind``, ``layers``, ``text`` and ``advice`` are for programs. The layers that the energy
        model cannot run, or has no price for, are among them.
        """
        return tuple(find_cautions(self))

    def memory(self, model: MemoryModel | None = None) -> Memory:
        """Return the accesses of the network to memory, and their energy.

        Accesses to weights, inputs and states are counted for each event where spikes drive a
        layer, and for each operation elsewhere. Their energy is not part of the DC or the EC. See
        `syops.cost.memory` for the formula and its source.

        Args:
            model: what an access costs; by default SRAM at 45 nm.

        Raises:
            SyopsTypeError: ``model`` is not a `MemoryModel`.

        Examples:
            >>> from torch import nn
            >>> from syops import get_model_bounds
            >>> memory = get_model_bounds(nn.Linear(4, 3), (1, 4), input_signal="analog").memory()
            >>> memory.rows[0].weights.reads  # one for each MAC
            12.0
        """
        return Memory.of(self._own, MemoryModel() if model is None else model)

    def baselines(
        self, nonzero: float | Report | None = None, memory: MemoryModel | None = None
    ) -> Baselines:
        """Return the energy of the same network as an ANN in fp32, in int8 and in as few bits as T
        asks for.

        Each has its energy, of arithmetic alone and with memory, and the firing rate below which
        the SNN needs less. See `syops.cost.baselines` for the formulas and their sources.

        Args:
            nonzero: the share of the ANN's activations that are not zero, over all synaptic
                operations; or the report of an ANN that was counted with ``zeros=True``, from which
                the share is taken. It adds each baseline once more, as an ANN that skips zeros.
            memory: what an access costs; by default SRAM at 45 nm.

        Raises:
            SyopsValueError: T is not known; ``nonzero`` is not between 0 and 1, or is a report
                without zeros.
            SyopsTypeError: ``nonzero`` is neither a number nor a report; ``memory`` is not a
                `MemoryModel`.
        """
        return Baselines.of(self._own, MemoryModel() if memory is None else memory, nonzero)

    def conventions_table(self, conventions: str | Sequence[AnyConvention] = "all") -> Conventions:
        """Return the figures of this count under several conventions, and why they differ.

        Args:
            conventions: "all" that ship with syops; names with commas between them; or a list of
                what `get_convention` takes.

        Raises:
            SyopsLookupError, SyopsFileError, SyopsTypeError, SyopsValueError: see
                `get_convention`. A convention that needs what was not counted has no figures, and
                says so.
        """
        return Conventions((self,), conventions_named(conventions))

    def methods(self) -> str:
        """Return the paragraph that a paper needs under Methods, with the BibTeX of its sources.

        It says what was counted, how, and with which constants.

        Examples:
            >>> from torch import nn
            >>> from syops import get_model_bounds
            >>> text = get_model_bounds(nn.Linear(4, 3), (1, 4)).methods()
            >>> "An AC costs 0.9 pJ and a MAC costs 4.6 pJ (45 nm" in text
            True
        """
        return methods(self)

    @property
    def _own(self) -> Self:
        """The same counts as syops sees them: the conventions of tools have no ANN, no accesses."""
        return self if self.convention.counter == "syops" else self.under("dst")

    def zeros(self) -> ZeroReport:
        """Return the work that remains without zeros among inputs, weights and activations.

        The metrics are those of NeuroBench: effective ACs and MACs, activation and connection
        sparsity, membrane updates and footprint; see `syops.cost.zeros`. The count must have been
        made with ``zeros=True``.

        Raises:
            SyopsValueError: zeros were not measured.
        """
        return ZeroReport.of(self)

    def neuron_rates(self) -> NeuronReport:
        """Return how often neurons fire: rates of each layer of neurons, and their distribution.

        It has mean rates, also at each time-step, quartiles over neurons, and the shares of neurons
        that never and that always fire. The count must have been made with ``neuron_rates=True``.

        Raises:
            SyopsValueError: the spikes of neurons were not counted.
        """
        return NeuronReport.of(self)

    def to_neurobench(self) -> dict[str, Any]:
        """Return NeuroBench's metrics under its names, for ``json.dumps``.

        The count must have been made with ``zeros=True``; see `zeros`.

        Raises:
            SyopsValueError: zeros were not measured.

        Examples:
            >>> import torch
            >>> from torch import nn
            >>> from syops import get_model_syops
            >>> report = get_model_syops(nn.Linear(4, 3), torch.eye(4), zeros=True)
            >>> report.to_neurobench()["SynapticOperations"]
            {'Effective_MACs': 0.0, 'Effective_ACs': 3.0, 'Dense': 12.0}
        """
        return self.zeros().to_neurobench()

    def fit(
        self,
        chip: str | os.PathLike[str] | Chip,
        limits: Sequence[str] = (),
        weight_bits: int | None = None,
    ) -> Fit:
        """Compare the network with the limits of a chip; see `syops.cost.fit` for the bounds.

        Args:
            chip: the name of one that ships with syops, a ``.toml`` file, or a `Chip`; see
                `get_chip`.
            limits: the limits to check; by default all that sources state.
            weight_bits: bits of a weight on the chip; by default those of its dtype.

        Raises:
            SyopsLookupError: the chip does not exist, or no source states one of ``limits``.
            SyopsFileError, SyopsValueError: the file cannot be read or holds no chip; bits are out
                of range.
        """
        return Fit.of(self._own, get_chip(chip), limits, weight_bits)

    def energy_menu(
        self,
        memory: MemoryModel | None = None,
        *,
        latency: float | str | None = None,
        hops: tuple[float, float] | None = None,
    ) -> EnergyMenu:
        """Return the energy of this network under every profile and every other model of energy.

        A model that does not apply refuses the network, and says why. The models differ by orders
        of magnitude: compare networks under one model, not models with one another.

        Args:
            memory: the size of queues and the bits of weights and states, for the models that know
                memory: ``MemoryModel(queue=0, bits=8)``. The models have their own prices.
            latency: the time of an inference, in ms or as text such as "10 ms", for the model that
                prices the power of a chip at rest.
            hops: the mean number of hops of a message from core to core in your mapping: east or
                west, and north or south.

        Raises:
            SyopsValueError: nothing was measured; ``memory`` has prices of its own; a number is
                negative or not finite.
            SyopsTypeError: ``memory`` is not a `MemoryModel`; ``latency`` or ``hops`` are not
                numbers.

        Examples:
            >>> import torch
            >>> from torch import nn
            >>> from syops import get_model_syops
            >>> menu = get_model_syops(nn.Linear(4, 3), torch.eye(4)).energy_menu()
            >>> menu.estimates[0].name, f"{menu.estimates[0].energy_mj:.1e} mJ"
            ('horowitz45-fp32', '2.7e-09 mJ')
        """
        return EnergyMenu.of(
            self._own,
            Setting(
                MemoryModel() if memory is None else memory,
                read_time(latency) if isinstance(latency, str) else latency,
                hops,
            ),
        )

    def training(self, optimizer: Any = None) -> Training:
        """Return the cost of a training step: forward pass, backward pass and optimiser.

        The forward pass decides which products of the backward pass are spike-driven; see
        `syops.cost.training`. The count must have been made with gradients, by `count_syops`
        around a training step of your own.

        Args:
            optimizer: a ``torch.optim.SGD``, whose operations are added.

        Raises:
            SyopsValueError: no gradients were recorded; the backward pass of an operator, or the
                operations of the optimiser, are not known.
            SyopsTypeError: ``optimizer`` is not an optimiser of torch.
        """
        return Training.of(self._own, optimizer)

    # Forms

    def table(self, *, depth: int | None = None, **arrangement: Unpack[Arrangement]) -> Table:
        """Return the layers inside the totals as plain data; see `Tabular.table`.

        Args:
            depth: add up the rows that share the first ``depth`` components of their module path.
            arrangement: columns, sort, top and units, as of every table.

        Raises:
            SyopsLookupError, SyopsValueError: as `Tabular.table`; also a ``depth`` below 1.
        """
        return self._arranged(layer_table(self, depth), **arrangement)

    def to_format(
        self,
        name: str,
        *,
        command: str | None = None,
        depth: int | None = None,
        **arrangement: Unpack[Arrangement],
    ) -> str:
        depths = {} if depth is None else {"depth": depth}
        return self._formatted(name, command, {**arrangement, **depths})

    def to_text(self, *, depth: int | None = None, **arrangement: Unpack[Arrangement]) -> str:
        return f"{to_text(self.table(depth=depth, **arrangement))}\n"

    def to_markdown(self, *, depth: int | None = None, **arrangement: Unpack[Arrangement]) -> str:
        return to_markdown(self.table(depth=depth, **arrangement))

    def to_latex(
        self,
        *,
        depth: int | None = None,
        caption: str | None = None,
        label: str | None = None,
        notes: bool | str = True,
        **arrangement: Unpack[Arrangement],
    ) -> str:
        table = self.table(depth=depth, **arrangement)
        return to_latex(table, caption=caption, label=label, notes=notes)

    def to_html(self, *, depth: int | None = None, **arrangement: Unpack[Arrangement]) -> str:
        return to_html(self.table(depth=depth, **arrangement))

    def to_csv(self, *, depth: int | None = None, **arrangement: Unpack[Arrangement]) -> str:
        """Return every layer as CSV, including folded layers and those outside the totals.

        Figures are per sample and in full, energies in mJ. The column ``counted`` says which rows
        are inside the totals. The arguments are those of `table`; by default all columns.
        """
        return to_csv(self._data(depth=depth, **arrangement))

    def _data(self, *, depth: int | None = None, **arrangement: Any) -> Table:
        return self._arranged(
            layer_table(self, depth, every=True), **{"columns": ALL} | arrangement
        )

    @property
    def _whole(self) -> Table:
        return layer_table(self)

    @property
    def _shown(self) -> Sequence[str]:
        return shown_columns(self)

    @property
    def _dearest(self) -> str:
        return dearest_column(self)

    def to_frame(self, totals: bool = False) -> pd.DataFrame:
        """Return the layers as a pandas table, one line a row.

        Args:
            totals: exact sums over all samples (integers; ``ac`` as a fraction) instead of
                figures per sample.
        """
        return frame_of(self, totals)

    def rates_frame(self) -> pd.DataFrame:
        """Return the firing rate of each spike-driven layer at each time-step as a pandas table.

        A line is a layer inside the totals, a column a time-step. It holds NaN where it is not
        known which entries of a layer's input belong to which time-step. If no layer has rates,
        there are no columns. ``layer.rates`` has the same figures.

        Examples:
            >>> import torch
            >>> from syops import get_model_syops
            >>> events = torch.stack([torch.zeros(2, 4), torch.ones(2, 4), torch.eye(4)[:2]])
            >>> report = get_model_syops(torch.nn.Linear(4, 3), events, batch_dim=1)  # [T, N, 4]
            >>> report.rates_frame().round(2).to_numpy().tolist()
            [[0.0, 1.0, 0.25]]
        """
        return rates_frame_of(self)

    def spread_frame(self) -> pd.DataFrame:
        """Return how samples differ as a pandas table: a line for all, and one for each class.

        The columns are ``samples``, and of ``ac``, ``mac`` and ``dc_pj`` the mean, the standard
        deviation, half of the 95 % confidence interval, the minimum and the maximum. There are
        classes if all samples have labels.

        Raises:
            SyopsValueError: it is not known how samples differ; the error says why.

        Examples:
            >>> import torch
            >>> from syops import get_model_syops
            >>> labelled = [(torch.eye(4), torch.tensor([0, 0, 1, 1]))]
            >>> report = get_model_syops(torch.nn.Linear(4, 3), labelled, spread=True)
            >>> report.spread_frame()[["samples", "ac_mean"]].to_numpy().tolist()
            [[4.0, 3.0], [2.0, 3.0], [2.0, 3.0]]
        """
        return spread_frame_of(self)

    def to_json(self) -> str:
        """Return the report as JSON, from which `from_json` makes an equal report."""
        return to_json(self)

    @staticmethod
    def from_json(text: str) -> Report:
        """Return the report that `to_json` wrote.

        Raises:
            SyopsTypeError: ``text`` is not text.
            SyopsValueError: ``text`` is not a report, is damaged, or is of another schema
                version; the error says which.
        """
        if not isinstance(text, str | bytes):
            raise SyopsTypeError(f"a report is made of text, got {shown(text)}; load reads files")
        return _holding(figures_from_json(text))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report to a file, in the format that the suffix names, whole or not at all.

        Args:
            path: ``.json`` holds everything, and `load` reads it; ``.csv``, ``.md``, ``.tex``,
                ``.html`` (a page, see `save_html`) and ``.txt`` are for people and other programs.

        Raises:
            SyopsValueError: the suffix is none of these.
            SyopsFileError: the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in _SUFFIXES:
            raise SyopsValueError(
                f"cannot save a report as {path}: its suffix must be one of {', '.join(_SUFFIXES)}"
            )
        write_text(Path(path), self.to_format(_SUFFIXES[suffix]))

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Report:
        """Read a report that `save` or ``syops run --format json`` wrote.

        Raises:
            SyopsFileError: the file cannot be read.
            SyopsValueError: the file does not hold a report; the error says why.
        """
        text = read_text(Path(path))
        try:
            return _holding(figures_from_json(text, str(path)))
        except SyopsValueError as error:
            if _SUFFIXES.get(Path(path).suffix.lower(), "json") != "json":
                raise SyopsValueError(
                    f"{path} cannot be read back: only JSON holds a whole report; write one with "
                    "report.save('report.json') or 'syops run --format json'"
                ) from error
            raise

    def plot(
        self,
        kind: Plot = "energy",
        ax: Axes | None = None,
        ec: bool = True,
        scale: Scale = "linear",
    ) -> Figure:
        """Draw the layers in the order in which they are executed, with energies per sample.

        ``report.plot().savefig("energy.pdf")`` writes a file.

        Args:
            kind: "energy" of each layer, firing "rates", "rates_over_time" (time-steps ×
                layers), "cumulative" energy, or the energy of "modules". If the spikes of neurons
                were counted, also "neuron_rates" and "neuron_rates_over_time".
            ax: where to draw; by default in a new figure as wide as a page.
            ec: whether "energy" shows EC, which may be much longer than what was measured.
            scale: the scale of "energy", "linear" or "log".

        Raises:
            SyopsLookupError: an unknown kind.
            SyopsTypeError: ``ax`` is not a matplotlib Axes.
            SyopsValueError: firing rates without data or without known time-steps, no layer
                inside the totals, or an unknown scale.
        """
        from syops.show.plots.layers import plot_report  # with matplotlib

        return plot_report(self, kind, ax, ec, scale)

    def save_html(self, path: str | os.PathLike[str], command: str | None = None) -> None:
        """Write a page with everything in it: layers, plots, conventions, energy profile, versions.

        It is one file that loads nothing, and can be searched, sorted, folded and printed.

        Args:
            path: what to write; it appears whole or not at all.
            command: the command line that made the report, to be shown.

        Raises:
            SyopsFileError: the file cannot be written.
        """
        write_text(Path(path), self.to_page(command))

    def to_page(self, command: str | None = None) -> str:
        """Return the page that `save_html` writes."""
        return to_page(self, command)

    def _repr_html_(self) -> str:
        return to_notebook(self)


class MeasuredReport(Report):
    """Show what `get_model_syops` counted on data: a `Report` whose ACs and DC are known.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from syops import get_model_syops
        >>> layer = nn.Linear(4, 3)
        >>> first, second = (get_model_syops(layer, x) for x in torch.eye(4).split(2))
        >>> both = first + second
        >>> both.samples, both.dc_mj == first.dc_mj
        (4, True)
    """

    if TYPE_CHECKING:
        # Figures are None without data. Here there is some, which a type checker is to know.
        @property
        def ac(self) -> float: ...

        @property
        def ac_events(self) -> float: ...

        @property
        def priced_ac(self) -> float: ...

        @property
        def dc_mj(self) -> float: ...


def _holding(figures: Figures) -> Report:
    """Return the report of figures that were read, a `MeasuredReport` where they were measured."""
    kind = MeasuredReport if figures.measured else Report
    return kind(**{field.name: getattr(figures, field.name) for field in fields(figures)})
