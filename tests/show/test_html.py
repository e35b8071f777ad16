"""What notebooks show and the page: what it says, what it escapes, and how it does in Chromium."""

import re
import shutil
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest

from syops import compare
from syops.errors import SyopsFileError
from syops.show.html import to_page, to_table_page
from syops.show.tree import layer_tree
from tests.support.plotted_reports import BOUNDS, ESCAPING, NET, RUDE, deep
from tests.support.reports import FIXED, analog, spiking

pytestmark = pytest.mark.once

VOID = {"meta", "link", "input", "br", "img"}


class Elements(HTMLParser):
    """Start tags with their attributes, and the text of the document; closed tags are checked."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.text += " " * (tag not in ("sub", "b", "i"))
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def rude(name):
    return replace(
        NET,
        model=name,
        rows=(spiking(f"{name}.a", 1000, 0.1), analog(name, 10, note=name), *NET.rows[1:3]),
        energy=replace(NET.energy, name=name, technology=name, source=name),
        conventions={name: name},
        versions={name: name},
        unaccounted={name: 2},
        notes=(name,),
    )


@cache
def net_page():
    return to_page(NET)


@cache
def deep_page(layers):
    return to_page(deep(layers))


# --- the tree -----------------------------------------------------------------------------------


def test_the_tree_adds_up_modules_and_joins_those_with_one_child():
    rows = (
        analog("stem.conv", 2_000),
        spiking("b.0.att", 3_000, 0.5, kind="matmul", site=0),
        spiking("b.0.att", 5_000, 0.5, kind="matmul", site=1),
        spiking("b.0.att.q.linear", 7_000, 0.5),
        spiking("b.1", 11_000, 0.5),
        spiking("", 13_000, 0.5),
    )
    layers = replace(NET, rows=rows, samples=1).layers
    lines = [
        (level, node.label, node.layer.dense, bool(node.children))
        for top in layer_tree(layers)
        for level, node in top.walk()
    ]
    assert lines == [
        (1, "stem.conv", 2_000, False),
        (1, "b", 26_000, True),
        (2, "0.att", 15_000, True),
        (3, "matmul#1", 3_000, False),
        (3, "matmul#2", 5_000, False),
        (3, "q.linear", 7_000, False),
        (2, "1", 11_000, False),
        (1, "Net", 13_000, False),
    ]


def test_a_module_with_one_row_of_its_own_and_others_below():
    rows = (spiking("a", 1, 1, kind="matmul"), spiking("a.b", 2, 1), spiking("a.c", 4, 1))
    (top,) = layer_tree(replace(NET, rows=rows, samples=1).layers)
    assert top.layer.dense == 7
    assert [node.label for node in top.children] == ["matmul", "b", "c"]


# --- in a notebook ------------------------------------------------------------------------------


def test_a_notebook_is_shown_figures_tree_and_what_was_not_counted():
    shown = Elements(NET._repr_html_())
    text = " ".join(shown.text.split())
    for said in (
        "Net 1.23 M parameters, T = 4, input 2x3x8x8; mean of 2 samples",
        "DC 17.0 µJ",
        "EC 11.0 µJ to 41.0 µJ",
        "Oac 6.00 M",
        "Omac 1.10 M",
        "mean rate 0.200",
        "E(SNN)/E(ANN) 0.486",
        "break-even rate 0.800 below this mean rate it needs less energy than the ANN",
        "MAC 11.0 µJ AC 6.00 µJ, as measured",
        "up to 41.0 µJ if every neuron fired at every time-step",
        "35.0 µJ as an ANN",
        "Folded into the layers before them, at no cost: 1 BatchNorm",
        "Outside the totals, as in the paper: neuron 1.50 k MAC, add 2.50 k AC",
        "Note: mind the gap",
    ):
        assert said in text.replace(" ,", ","), said
    assert len(shown.of("details")) == len(shown.of("summary")) == 2  # block, block.b
    # The interval, up to 41 µJ: MAC 11, AC 6, what is left 24; the ANN at 35.
    interval, *bars = bars_of(shown)
    assert interval == {part: 100 * x / 41 for part, x in {"m": 11, "a": 6, "e": 24}.items()}
    (tick,) = [a["style"] for a in shown.of("i") if a["class"] == "tick"]
    assert tick == f"--at:{100 * 35 / 41:.4g}%"
    # Rates in percent; energies of which the largest top-level module, stem with 10 µJ, is 100.
    assert bars[0::2] == [{}, {"a": 20}, {"a": 25}, {"a": 10}, {"a": 10}, {}]
    block = [{"m": 10, "a": 60}, {"a": 50}, {"m": 10, "a": 10}, {"a": 10}, {"m": 10}]
    assert bars[1::2] == [{"m": 100}, *block]


def bars_of(shown):
    """The parts of every bar, in percent."""
    bars = []
    for _, attributes in shown.tags:
        if attributes.get("class") == "bar":
            bars.append({})
        elif attributes.get("class") in ("m", "a", "e") and "style" in attributes:
            width = re.fullmatch(r"width:([\d.e-]+)%", attributes["style"])[1]
            bars[-1][attributes["class"]] = pytest.approx(float(width), rel=1e-3)
    return bars


def test_a_notebook_gets_no_script_and_styles_for_the_report_alone():
    text = deep(150)._repr_html_()
    shown = Elements(text)
    assert len(text.encode()) < 150_000
    assert "<script" not in text
    assert not any(name.startswith("on") for _, attributes in shown.tags for name in attributes)
    assert not shown.of("link")
    (css,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    selectors = re.sub(r"/\*.*?\*/|\{[^{}]*\}", ";", css, flags=re.DOTALL)
    for selector in filter(None, map(str.strip, re.split(r"[;,](?![^(]*\))", selectors))):
        assert ".syops" in selector, selector
    labels = re.findall(r"conv\d+", shown.text)
    assert sorted(set(labels)) == sorted(f"conv{i}" for i in range(150))


def test_a_report_without_data_says_what_it_does_not_know():
    text = " ".join(Elements(BOUNDS._repr_html_()).text.split())
    assert "per sample, without data" in text
    assert "EC 11.0 µJ to 41.0 µJ" in text
    assert "dense AC 30.0 M" in text
    assert "as measured" not in text
    assert "DC" not in text


@pytest.mark.parametrize(
    ("macs", "said"),
    [
        (2_000_000, "none the ANN needs less energy than the SNN at any rate"),  # 10 µJ < 11 µJ
        (9_000_000, "none the SNN needs less energy than the ANN at any rate"),  # 45 µJ > 41 µJ
    ],
)
def test_no_break_even_rate(macs, said):
    report = replace(NET, ann_rows=(analog("", macs, "linear"),))
    text = " ".join(Elements(report._repr_html_()).text.split())
    assert f"break-even rate {said}" in text


def test_a_report_without_rows_can_be_shown():
    empty = replace(NET, rows=())
    assert "total" in Elements(empty._repr_html_()).text
    assert Elements(to_page(empty)).of("svg") == []
    assert "total" in Elements(empty.select(["pool"])._repr_html_()).text
    assert "Not in the totals" in net_page()
    assert "Not in the totals" not in to_page(replace(empty, notes=()))


# --- the page -----------------------------------------------------------------------------------


def test_the_page_holds_everything_and_refers_to_nothing():
    text = to_page(NET, "syops run net --set name='a \"b\"'")
    page = Elements(text)
    said = " ".join(page.text.split())
    for fact in (
        "norms folded – BatchNorms that can be folded into the layer before them cost nothing",
        "ac rate – priced are firing rate · dense count",
        "in the totals conv, linear, matmul, norm, recurrent",
        "name mine Eac 1 pJ Emac 10 pJ technology paper source J. Doe, Costs, 2020",
        "Provenance syops 0.1.0 torch 2.13.0",
        "Command syops run net --set name='a \"b\"'",
        "All 3 rows outside the totals",
        "1.10 M MAC x 10 pJ",
    ):
        assert fact in said, fact
    assert len(page.of("svg")) == 3
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.of("svg"))
    svg = "".join(re.findall("<svg.*?</svg>", text, re.DOTALL))
    assert not re.search("#[0-9a-f]{6}", svg)  # all colours are those of the theme
    assert set(re.findall(r"var\(--(\w+)\)", svg)) == {"ac", "mac", "ec", "edge", "bg"}
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "srcset", "data", "poster"):
            assert re.match("#|data:,", attributes.get(name) or "#"), attributes
    # What a reader may follow, and the page does not.
    source = replace(
        NET.energy, source="Costs, 2020, doi:10.1016/S0893-6080(97)00011-7; arXiv:2301.11929 <b>"
    )
    followed = Elements(to_page(replace(NET, energy=source)))
    assert [a["href"] for a in followed.of("a")] == [
        "https://doi.org/10.1016/S0893-6080(97)00011-7",
        "https://arxiv.org/abs/2301.11929",
    ]
    assert "arXiv:2301.11929 <b>" in followed.text
    assert not re.search(r"@import|url\((?!#)", text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert references
    assert set(references) <= set(ids)
    assert to_page(NET) == net_page()
    assert "Command" not in Elements(net_page()).text


def test_the_page_tells_what_a_chip_cannot_do():
    chip = to_page(NET.priced("odin"))
    said = " ".join(Elements(chip).text.split())
    for fact in (
        "DC 76.2 µJ dynamic consumption, as measured; MACs have no price",
        "Warning: odin processes spikes alone; of the first and the last layer has to be computed",
        "Emac no price input spikes alone includes one synaptic operation",
        "Frenkel",
    ):
        assert fact in said, fact
    assert said.count("Warning:") == 1
    assert "as an ANN" not in said.replace("the same network as an ANN", "")
    by_layer = NET.priced({"stem": "horowitz45-int8", "*": "horowitz45-fp32"})
    said = " ".join(Elements(to_page(by_layer)).text.split())
    assert "stem horowitz45-int8: E_ac 0.03 pJ; E_mac 0.23 pJ" in said
    assert "* horowitz45-fp32: E_ac 0.9 pJ; E_mac 4.6 pJ" in said


def test_sentences_of_a_page_do_not_repeat_its_figures():
    text = " ".join(Elements(net_page()).text.split())
    assert text.count("DC = ") == 1
    assert not re.search(
        "Estimated consumption|at the measured firing rates|times less energy", text
    )
    assert "not known without data" in Elements(to_page(BOUNDS)).text


def test_a_page_without_data_has_no_rates():
    assert len(Elements(to_page(BOUNDS)).of("svg")) == 2


@pytest.mark.parametrize(
    "name", [f"{RUDE}]]><svg/onload=alert(3)>", f'{ESCAPING}"><b a="', "'`{{7*7}}"]
)
def test_names_are_escaped_everywhere(name):
    report = rude(name)
    networks = compare({name: report})
    page = to_page(report, command=name)
    for text in (report._repr_html_(), page, networks.to_page(name)):
        shown = Elements(text)
        assert name in shown.text
        assert not shown.of("img")
        assert not shown.of("b") or all(set(a) <= {"class"} for a in shown.of("b"))
        assert not any(attr.startswith("on") for _, a in shown.tags for attr in a)
        assert len(shown.of("script")) == text.count("<script") <= 1


def test_letters_that_matplotlib_has_not_are_those_of_the_browser(recwarn):
    report = rude("層")
    page = to_page(report) + compare({"層": report, "b": NET}).to_page()
    assert ">層.a</text>" in page
    assert not recwarn.list


def test_names_do_not_turn_around_what_is_beside_them():
    """U+202E makes a browser write from the right to the left, until the line ends."""
    report = rude("\u202eevil")
    networks = compare({"\u202eevil": report})
    page = to_page(report, command="\u202eevil")
    for text in (report._repr_html_(), page, networks.to_page("\u202eevil")):
        assert "\u202e" not in text
        assert r"\u202eevil" in text


def test_a_page_of_several_networks(tmp_path):
    networks = compare({"one & only": replace(NET, accuracy=0.5), "two": BOUNDS, "three": FIXED})
    path = tmp_path / "networks.html"
    networks.save_html(path, command="syops compare one two")
    page = Elements(path.read_text("utf-8"))
    said = " ".join(page.text.split())
    title = "Comparison of one & only, two and three"
    assert said.startswith(f"{title} – syops {title} Synaptic")
    for fact in ("Without data, O_ac and DC are not known: two", "Command syops compare one two"):
        assert fact in said
    labels = [svg["aria-label"] for svg in page.of("svg")]
    own = ["Energy by layer, in the order of execution", "Firing rate of the input of each layer"]
    assert labels[:2] == ["Accuracy against energy", "Energy of each network"]
    assert labels[2:] == [*own, own[0], *own]  # the second one has no data
    assert len([a for a in page.of("table") if a.get("role") == "treegrid"]) == 3
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(Elements(compare([NET, BOUNDS]).to_page()).of("svg")) == 1 + 2 + 1
    layers = compare({"a&b": NET, "b": BOUNDS}).layers()
    page = Elements(to_table_page("a&b", layers.to_html(), command="<c>"))
    assert len(page.of("h1")) == len(page.of("table")) == 1
    assert page.text.count("a&b") >= 2
    assert "<h1>a&amp;b and b, layer by layer</h1>" in layers.to_page()
    assert "<c>" in page.text
    five = compare(dict.fromkeys("abcde", NET)).to_page()
    assert "<h1>Comparison of a, b, c and 2 more</h1>" in five


def test_the_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    whole = to_page(NET, "syops run net")
    NET.save_html(str(path), command="syops run net")
    assert path.read_text("utf-8") == whole
    with pytest.raises(SyopsFileError, match="cannot write .*nowhere.*: No such file"):
        NET.save_html(tmp_path / "nowhere" / "report.html")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(SyopsFileError, match="No space left"):
        BOUNDS.save_html(path)
    assert path.read_text("utf-8") == whole
    assert list(tmp_path.iterdir()) == [path]


# --- in Chromium --------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


def in_chromium(test):
    """Run a test in CI, and only where Chromium is."""
    return pytest.mark.slow(pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")(test))


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, tmp_path):
    """Opens a text as a page; in the end nothing has complained, called or asked for anything."""
    complaints, contexts = [], []

    def open_page(text, name="page.html", **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on(
            "request",
            lambda request: request.url == path.as_uri() or complaints.append(request.url),
        )
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def rows_of(page):
    """The names of the rows of the table of layers that can be seen, from the top."""
    return page.locator(".layers tbody tr:visible th").all_text_contents()


@in_chromium
@pytest.mark.parametrize("report", [NET, BOUNDS, FIXED, deep(300)], ids=lambda report: report.model)
def test_pages_open_without_a_complaint_or_a_request(visit, report):
    page = visit(to_page(report))
    assert page.title() == f"{report.model} – syops"
    assert page.locator("h1").inner_text() == report.model
    assert page.locator("svg text:visible").count() > 10
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert_contrast(page)
    # Nothing but what scrolls by itself is wider than a telephone, and it says so.
    page.wait_for_selector(".layers .scroll.fits")
    page.set_viewport_size({"width": 380, "height": 700})
    page.wait_for_selector(".layers .scroll.wide")
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    hint = "e => getComputedStyle(e, '::before').content"
    assert "scroll sideways" in page.locator(".layers .scroll").evaluate(hint)


@pytest.fixture
def layers(visit):
    page = visit(net_page())
    assert rows_of(page) == ["stem", "block", "a.conv", "b", "conv", "proj"]
    return page


@in_chromium
def test_rows_are_sorted_within_their_module_or_all_together(layers):
    heading = layers.locator(".layers thead th")
    dc = heading.filter(has_text="DC").locator("button")
    dc.click()
    assert rows_of(layers) == ["stem", "block", "a.conv", "b", "conv", "proj"]  # 10, 7 (5, 2)
    assert heading.filter(has_text="DC").get_attribute("aria-sort") == "descending"
    dc.click()
    assert rows_of(layers) == ["block", "b", "conv", "proj", "a.conv", "stem"]
    assert heading.filter(has_text="DC").get_attribute("aria-sort") == "ascending"
    dc.click()
    assert heading.filter(has_text="DC").get_attribute("aria-sort") is None
    assert rows_of(layers) == ["stem", "block", "a.conv", "b", "conv", "proj"]
    layers.get_by_label("by module").uncheck()
    paths = ["stem", "block.a.conv", "block.b.conv", "block.b.proj"]
    assert rows_of(layers) == paths
    heading.filter(has_text="rate").locator("button").click()
    assert rows_of(layers) == ["block.a.conv", "block.b.conv", "stem", "block.b.proj"]
    heading.filter(has_text="rate").locator("button").click()
    assert rows_of(layers) == ["block.b.conv", "block.a.conv", "stem", "block.b.proj"]
    heading.filter(has_text="layer").locator("button").click()
    assert rows_of(layers) == sorted(paths)


@in_chromium
@pytest.mark.parametrize(("width", "turned"), [(1280, "window"), (390, ".layers .scroll")])
def test_headings_stay_in_sight_and_are_clicked_anywhere(visit, width, turned):
    page = visit(deep_page(120), viewport={"width": width, "height": 700})
    page.get_by_role("button", name="Open all").click()
    heading = page.locator(".layers thead th").first
    page.locator(".layers .scroll").evaluate("e => e.scrollIntoView()")
    inside = page.locator(".layers .scroll").bounding_box()
    if turned == "window":
        page.evaluate("scrollBy(0, 1000)")
        assert heading.bounding_box()["y"] == pytest.approx(0, abs=2)
    else:
        page.locator(turned).evaluate("e => e.scrollBy(60, 1000)")
        box = heading.bounding_box()
        assert box["y"] == pytest.approx(inside["y"], abs=2)
        assert box["x"] == pytest.approx(inside["x"], abs=2)  # names stay in sight, too
    box = heading.bounding_box()
    heading.click(position={"x": box["width"] - 3, "y": 3})
    assert heading.get_attribute("aria-sort") == "ascending"


@in_chromium
def test_everything_ends_at_one_right_edge(visit):
    page = visit(net_page(), viewport={"width": 1280, "height": 800})
    ends = page.evaluate(
        "[...document.querySelectorAll('main > *, main svg, .interval .bar, table')]"
        ".filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().right)"
    )
    assert len(ends) > 10
    assert max(ends) - min(ends) <= 1


@in_chromium
def test_modules_are_folded(layers):
    layers.locator(".layers tbody th", has_text="block").click()
    assert rows_of(layers) == ["stem", "block"]
    assert layers.locator("tr[aria-expanded]").first.get_attribute("aria-expanded") == "false"
    layers.get_by_role("button", name="Open all").click()
    assert rows_of(layers) == ["stem", "block", "a.conv", "b", "conv", "proj"]
    layers.get_by_role("button", name="Close all").click()
    assert rows_of(layers) == ["stem", "block"]
    outside = layers.locator("details", has_text="rows outside the totals")
    assert not outside.locator("table").is_visible()
    outside.locator("summary").click()
    assert outside.locator("tbody tr:visible").count() == 3


@in_chromium
def test_layers_are_searched(layers):
    search = layers.get_by_role("searchbox")
    search.fill("linear")
    assert rows_of(layers) == ["block", "b", "proj"]
    assert layers.locator("output").inner_text() == "1 of 4 layers"
    found = layers.locator("tr.found")
    said = found.locator("th, td").all_text_contents()
    heads = layers.locator(".layers thead th").all_inner_texts()
    told = dict(zip((head.split()[0] for head in heads), said, strict=True))
    assert told["layer"] == "1 layer found"
    assert (told["DC"], told["share"], told["kind"], told["rate"]) == ("1.00", "5.9%", "", "")
    search.fill("BLOCK. conv")
    assert found.locator("td").all_text_contents()[-2:] == ["6.00", "35.3%"]  # 5 + 1 of 17
    assert found.locator("th").inner_text() == "2 layers found"
    assert rows_of(layers) == ["block", "a.conv", "b", "conv"]
    search.fill("nothing")
    assert rows_of(layers) == []
    assert layers.locator("output").inner_text() == "0 of 4 layers"
    assert found.locator("td").all_text_contents()[-2:] == ["–", "–"]
    search.fill("")
    assert found.is_hidden()
    layers.get_by_role("button", name="Close all").click()
    search.fill("proj")  # also what is folded away
    assert rows_of(layers) == ["block", "b", "proj"]
    search.fill("")
    assert rows_of(layers) == ["stem", "block"]


@in_chromium
def test_keyboard_moves_through_the_tree(layers):
    def pressed(*keys):
        for key in keys:
            layers.keyboard.press(key)
        return layers.evaluate("document.activeElement.dataset.name")

    layers.locator(".layers .scroll").focus()
    for _ in range(len(NET.table().columns) + 1):
        layers.keyboard.press("Tab")
    assert pressed() == "stem"
    assert pressed("ArrowUp") == "stem"
    assert pressed("ArrowDown", "ArrowDown") == "block.a.conv"
    assert pressed("ArrowLeft") == "block"
    assert pressed("ArrowLeft") == "block"
    assert rows_of(layers) == ["stem", "block"]
    assert pressed("ArrowRight") == "block"
    assert pressed("ArrowRight") == "block.a.conv"
    assert pressed("End") == "block.b.proj"
    assert pressed("ArrowLeft", "Enter", "ArrowDown") == "block.b"
    assert rows_of(layers) == ["stem", "block", "a.conv", "b"]
    assert pressed("Home") == "stem"
    layers.keyboard.press("Shift+Tab")
    assert layers.evaluate("document.activeElement.textContent") == "share"
    layers.keyboard.press("Enter")
    assert layers.locator("th[aria-sort]").inner_text().startswith("share")


@in_chromium
def test_many_layers_start_folded_and_are_found(visit):
    page = visit(deep_page(300))
    assert rows_of(page) == ["stage0", "stage1", "stage2"]
    page.get_by_role("searchbox").fill("conv299")
    assert rows_of(page) == ["stage2", "24", "conv299"]
    assert page.locator("output").inner_text() == "1 of 300 layers"


@in_chromium
def test_bars_of_layers_alone_are_as_long_as_they_can_be(visit):
    report = replace(NET, rows=(*NET.rows[3:], spiking("block.c", 32_000_000, 0.5)))
    page = visit(to_page(report))  # 5, 1, 1 and 8 µJ, in one module of 15 µJ
    bars = page.locator(".layers tbody tr[data-name='block.c'] td:nth-last-child(2) .bar i")
    share = "([bar]) => bar.offsetWidth / bar.parentElement.offsetWidth"
    assert bars.evaluate_all(share) == pytest.approx(8 / 15, rel=0.05)
    page.get_by_label("by module").uncheck()
    assert bars.evaluate_all(share) == pytest.approx(1, rel=0.05)


@in_chromium
def test_page_without_javascript_shows_everything(visit):
    page = visit(net_page(), java_script_enabled=False)
    assert rows_of(page) == ["stem", "block", "a.conv", "b", "conv", "proj"]
    assert page.locator(".controls").is_hidden()


@in_chromium
def test_the_page_prints_with_headings_on_every_page(visit):
    page = visit(deep_page(120))
    page.get_by_role("button", name="Open all").click()
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) in range(4, 9)
    page.emulate_media(media="print")
    assert page.locator(".controls").is_hidden()
    assert (
        page.locator("thead button").first.evaluate("e => getComputedStyle(e).display")
        == "contents"
    )


@in_chromium
def test_names_of_layers_have_room_in_print(visit):
    page = visit(net_page())
    page.set_viewport_size({"width": 390, "height": 844})  # the table scrolls here
    page.wait_for_selector(".layers .wide")
    page.emulate_media(media="print")
    styles = page.locator(".layers tbody th").evaluate_all(
        "cells => cells.map(cell => getComputedStyle(cell).minWidth)"
    )
    assert styles
    assert all(float(width.removesuffix("px")) >= 120 for width in styles)


@in_chromium
def test_each_network_of_a_comparison_is_folded_sorted_and_searched_by_itself(visit):
    page = visit(compare({"one": NET, "two": BOUNDS}).to_page())
    assert rows_of(page) == []
    one, two = page.locator("details.network").all()
    for network in (one, two):
        network.locator("summary").first.click()
    two.get_by_role("searchbox").fill("proj")
    one.get_by_role("button", name="Close all").click()
    assert rows_of(one) == ["stem", "block"]
    assert rows_of(two) == ["block", "b", "proj"]
    assert_contrast(page)


@in_chromium
@pytest.mark.parametrize("name", [RUDE, ESCAPING])
def test_hostile_names_run_no_script(visit, name):
    page = visit(to_page(rude(name), command=name))
    assert page.locator("h1").inner_text() == name
    assert f"{name}.a" in page.locator(".layers").inner_html().replace("&lt;", "<").replace(
        "&gt;", ">"
    )
    page.get_by_label("by module").uncheck()
    assert sorted(rows_of(page)) == sorted([name, f"{name}.a"])
    notebook = visit(f"<meta charset=utf-8>{rude(name)._repr_html_()}", "notebook.html")
    assert notebook.locator("strong").inner_text() == name


HOSTS = (
    ("class", "", None),
    ("data-jp-theme-light", "true", "light"),
    ("data-jp-theme-light", "false", "dark"),
    ("class", "vscode-dark", "dark"),
    ("class", "vscode-light", "light"),
)
"""How notebooks tell their theme: an attribute, its value, and the theme."""


@pytest.mark.slow
@in_chromium
def test_a_notebook_is_legible_in_any_theme_and_folds(visit):
    text = f"<meta charset=utf-8><body><p class=row>theirs</p>{NET._repr_html_()}"
    page = visit(text, java_script_enabled=False)
    body, shown = page.locator("body"), page.locator(".syops")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for attribute, value, theme in HOSTS:
            body.evaluate("(e, [name, value]) => e.setAttribute(name, value)", [attribute, value])
            background = shown.evaluate("e => getComputedStyle(e).backgroundColor")
            is_light = (theme or scheme) == "light"
            assert (background == "rgb(255, 255, 255)") == is_light, (scheme, value)
            assert_contrast(page)
            body.evaluate("(e, name) => e.removeAttribute(name)", attribute)
    names = page.locator(".syops li .row:visible > :first-child")
    assert names.all_text_contents() == ["stem", "block", "a.conv", "b"]
    page.locator(".syops summary", has_text="b").last.click()
    assert names.all_text_contents() == ["stem", "block", "a.conv", "b", "conv", "proj"]
    theirs = page.locator("p.row").evaluate("e => [getComputedStyle(e).display]")
    assert theirs == ["block"]


POOR = """() => {
    const canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d", {willReadFrequently: true});
    const rgba = color => {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = color;
        pen.fillRect(0, 0, 1, 1);
        return [...pen.getImageData(0, 0, 1, 1).data];
    };
    const light = color => rgba(color).slice(0, 3).map(v => v / 255)
        .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const poor = [];
    for (const e of document.querySelectorAll(".syops *")) {
        const own = [...e.childNodes].filter(n => n.nodeType === 3);
        const told = own.map(n => n.data.trim()).join("");
        if (!told || e.matches("style, script")) continue;
        const style = getComputedStyle(e);
        const color = e instanceof SVGElement ? style.fill : style.color;
        let behind = e, back = "transparent";
        for (; rgba(back)[3] < 255; behind = behind.parentElement)
            back = getComputedStyle(behind).backgroundColor;
        const pair = [color, back].map(light);
        const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
        if (ratio < 4.5) poor.push([told, color, ratio]);
    }
    return poor;
}"""


def assert_contrast(page):
    """All text has a contrast of 4.5 or more with what is behind it, as WCAG 2 measures it."""
    assert page.evaluate(POOR) == []
