"""What the cells of the notebook call: text, figures and tables, numbered in the order shown."""

import base64
import ctypes
import gc
import inspect
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import pandas as pd
import yaml
from IPython.display import Markdown, display

from bnstudy import plugins
from bnstudy.config import ROOT
from bnstudy.data.prepared import open_prepared
from bnstudy.data.registry import add_prepared
from bnstudy.errors import UserError
from bnstudy.report import design, figures
from bnstudy.report.command import title_of
from bnstudy.report.exhibits import PARTS, Exhibit, exhibit, table_html
from bnstudy.report.findings import first_screen
from bnstudy.report.look import WIDTH, Drawing, Pictures
from bnstudy.report.rendering import CSV, LIVE, PAGE, PICTURES, PNG, SVG, escape_markdown
from bnstudy.report.results import DatasetFacts, Results
from bnstudy.report.verdicts import Claims, strip
from bnstudy.report.words import say, without_markup

PNG_DPI = 110  # for readers of the notebook, who may see no SVG
PATIENCE = 120  # seconds for a process that draws ahead; then it is drawn here
PARENT_DIES = 1  # of Linux's prctl: the signal that a process gets then
AHEAD: dict[str, Drawing] = {}  # of a process that draws ahead


def begin(drawings: Mapping[str, Drawing]) -> None:
    ctypes.CDLL(None).prctl(PARENT_DIES, signal.SIGKILL)  # who asked for them is gone
    AHEAD.update(drawings)
    gc.freeze()  # what is loaded stays, and is not searched with what a figure leaves
    gc.set_threshold(100_000)


def draw(label: str) -> Pictures:
    return AHEAD[label].pictures(PNG_DPI)


def study_folder(config: str) -> Path:
    """The folder of the study with this config: where the notebook runs, above it, or the checkout.

    Where there is none, a UserError says so.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, ROOT):
        if (folder / config).exists():
            return folder
    raise UserError(
        f"there are no results at {config}, neither in {here} and above it nor in {ROOT}; `make` "
        "there makes them, or give another place in the cell of parameters"
    )


class Report:
    """The study of a notebook, and what its cells show of it.

    `config` is the recorded config, absolute or from `study_folder`, as are the folder of the tables, the prepared
    datasets, and the list of claims. Missing and damaged files are refused.
    """

    def __init__(self, config: str, tables: str, data: str | list[str], claims: str = "") -> None:
        folder = study_folder(config)
        self.tables = folder / tables
        paths = [folder / path for path in ([data] if isinstance(data, str) else data)]
        opened = [open_prepared(path) for path in paths]
        for dataset in opened:
            add_prepared(dataset)  # images of the user's own are in no registry yet
        self.data = {dataset.name: dataset for dataset in opened}
        facts = {}
        for name, one in self.data.items():
            title, classes = without_markup(one.title), tuple(map(str, one.classes))
            sizes = (len(classes), len(one.train_images), len(one.test_images))
            facts[name] = DatasetFacts(title, *sizes, classes)
        self.results = Results.load(folder / config, self.tables, facts)
        self.config = self.results.config
        plugins.load(self.config.get("plugins", []))  # what the names of its levels stand for
        self.counts = {"figure": 0, "table": 0}
        self.ahead: dict[str, Future] = {}
        # A notebook that came from another machine may name a place that is not here.
        places = (folder / claims, ROOT / claims, ROOT / "config" / Path(claims).name)
        listed = next((place for place in places if place.is_file()), None)
        self.claims = Claims.load(listed, self.tables, self.config) if listed else None

    def text(self, *paragraphs: str) -> None:
        """Show Markdown paragraphs; empty ones are left out."""
        if shown := "\n\n".join(filter(None, paragraphs)):
            display(Markdown(shown))

    def bullets(self, items: Iterable[str]) -> None:
        """Show sentences as a list."""
        self.text("\n".join(f"- {item}" for item in items))

    def opening(self, anchors: Mapping[str, str]) -> None:
        """Show the first screen: the finding as title, what it rests on, key numbers and learning curves.

        Below stand a mark for each claim that was judged, leading to the anchor given for it, and what was run.
        """
        screen = first_screen(self.results, title_of(self.config))
        tiles = [f"{one.value} {one.label}: {one.detail}." for one in screen.tiles]
        title, *rest = map(escape_markdown, [screen.title, screen.sentences, *tiles])
        text = "\n\n".join([f"**{title}**", *rest])  # for Jupyter
        display({PAGE: str(PARTS.opening(screen)), "text/markdown": text}, raw=True)
        self.text(design.unfinished(self.results))
        for dataset in self.each_dataset():
            live = figures.explorer(self.results, dataset)
            self.figure(figures.learning_curves(self.results, dataset), live=live)
        if (rows := self.results.claims) is not None:
            display({PAGE: strip(rows, anchors), "text/markdown": ""}, raw=True)
        self.text(design.subtitle(self.results), design.byline(self.results))

    def each_dataset(self) -> Iterator[str]:
        """The datasets in turn, each under a heading if there are several."""
        for dataset in self.results.datasets:
            if len(self.results.datasets) > 1:
                self.text(f"#### {escape_markdown(self.results.title(dataset))}")
            yield dataset

    def numbered(self, kind: str, label: str) -> dict[str, object]:
        """The next number of a figure or table, its label, and that without its dataset as its group."""
        self.counts[kind] += 1
        group = label
        for dataset in self.results.datasets[1:]:
            group = group.removesuffix(f"-{dataset}")
        return {"kind": kind, "label": label, "group": group, "number": self.counts[kind]}

    def draw_ahead(self, drawings: Iterable[Drawing | None]) -> None:
        """Begin to draw what `figure` will show in this order, in a process for each processor."""
        if sys.platform != "linux" or (n := min(4, len(os.sched_getaffinity(0)))) == 1:
            return
        drawings = {drawing.label: drawing for drawing in drawings if drawing}
        fork = multiprocessing.get_context("fork")  # to which a drawing need not be sent
        pool = ProcessPoolExecutor(n, fork, begin, [drawings])
        with warnings.catch_warnings():  # Python 3.12 warns of threads, which draw nothing
            warnings.simplefilter("ignore", DeprecationWarning)
            self.ahead = {label: pool.submit(draw, label) for label in drawings}
        pool.shutdown(wait=False)  # it ends with the last of them

    def drawn(self, drawing: Drawing) -> Pictures:
        """The pictures of a figure, from the process that draws it ahead if one does."""
        with suppress(KeyError, TimeoutError, BrokenProcessPool):
            return self.ahead.pop(drawing.label).result(PATIENCE)
        return drawing.pictures(PNG_DPI)

    def figure(self, *drawings: Drawing | None, live: Mapping | None = None) -> None:
        """Show each `look.Drawing` with its number, caption, alternative text and data.

        On a page with script, `live` makes it something to explore or to play with: its `kind` and what that takes. The
        picture stands for it on paper, without script and in Jupyter.
        """
        for drawing in filter(None, drawings):
            drawn, meta = self.drawn(drawing), self.numbered("figure", drawing.label)
            meta |= {"alt": drawing.finding, "caption": drawing.caption}
            table = drawing.data.to_csv(index=False, lineterminator="\n", float_format="%.7g")
            bundle = {SVG: drawn.svg, PICTURES: drawn.svgs, CSV: table}
            bundle |= {PNG: base64.b64encode(drawn.png).decode(), "text/plain": drawing.finding}
            bundle |= {} if live is None else {LIVE: live}
            png = {"alt": drawing.finding, "width": round(min(len(drawn.svgs), 2) * WIDTH * 96)}
            display(bundle, metadata={"bnstudy": meta, PNG: png}, raw=True)
            # For readers of the .ipynb; the HTML page puts the caption into the figure itself.
            number = f'<a id="fig-{drawing.label}"></a>**Figure {meta["number"]}.**'
            said = {"bnstudy": {"kind": "caption"}}
            display(Markdown(f"{number} {drawing.caption}"), metadata=said)

    def table(self, *tables: Exhibit | None) -> None:
        """Show each `exhibits.Exhibit` with its number; all in it is escaped."""
        for shown in filter(None, tables):
            meta = self.numbered("table", shown.label)
            body = table_html(shown, meta["number"])
            plain = f"Table {meta['number']}. {shown.caption}"
            display({"text/html": body, "text/plain": plain}, metadata={"bnstudy": meta}, raw=True)

    def frame(self, name: str, frame: pd.DataFrame | Sequence, **words: object) -> None:
        """Show a table of pandas, or its rows, as report/tables.yaml declares it, with `words`."""
        self.table(exhibit(name, frame, **words))

    def drawing(self, label: str, frame: pd.DataFrame, draw: Callable, **words: object) -> None:
        """Show a figure of the notebook, with `words` in its texts of report/sentences.yaml."""
        finding, caption = (say(label, name, **words) for name in ("finding", "caption"))
        self.figure(Drawing(label, finding, caption, frame, draw))

    def fold(self, summary: str, code: str) -> None:
        """Show code or a configuration, folded away behind a summary."""
        body = str(PARTS.fold(summary, code))
        display({"text/html": body, "text/plain": code}, raw=True)

    def source(self, *objects: object) -> None:
        """Show the real source of functions or classes, folded, each under its place."""
        for found in map(inspect.unwrap, objects):
            place = Path(inspect.getsourcefile(found)).resolve().relative_to(ROOT)
            self.fold(f"{found.__name__} in {place}", inspect.getsource(found).rstrip())

    def show_config(self) -> None:
        """Show the config as YAML, with the studies that were on, without their prose."""
        on = {name: said for name, said in self.config["studies"].items() if said["enabled"]}
        studies = {name: {k: said[k] for k in said if k != "text"} for name, said in on.items()}
        style = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None}
        dumped = yaml.safe_dump(self.config | {"studies": studies}, **style)
        self.fold("The configuration as it was recorded", dumped)
