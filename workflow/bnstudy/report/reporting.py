"""The report: `bnstudy report` executes and renders the notebook, `Report` is what its cells call.

The notebook's source is text; it is executed (`execution`), kept as an .ipynb and rendered by
`rendering.page_of` to one HTML file.
"""

import base64
import inspect
import multiprocessing
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import jupytext
import nbformat
import pandas as pd
import yaml
from IPython.display import Markdown, display

from bnstudy import plugins
from bnstudy.cli import parser_of
from bnstudy.config import ROOT, notebook_for
from bnstudy.data.prepared import open_prepared
from bnstudy.data.registry import add_prepared
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.report.execution import execute, write_atomically
from bnstudy.report.look import WIDTH, Drawing, Pictures
from bnstudy.report.opening import first_screen, verdicts
from bnstudy.report.rendering import (
    CSV,
    LIVE,
    PAGE,
    PICTURES,
    PNG,
    SVG,
    numbered_anchors,
    numbered_outputs,
    page_of,
)
from bnstudy.report.results import DatasetFacts, Results, read_table
from bnstudy.report.tables import PARTS, Exhibit, table_html
from bnstudy.report.verdicts import Claims
from bnstudy.report.words import escape_markdown, without_markup
from bnstudy.settings import label

PNG_DPI = 110  # for readers of the notebook, who may see no SVG
REFERENCE = re.compile(r"\[(figure|table)\]\(#((?:fig|tab)-[\w-]+)\)", re.IGNORECASE)
INCLUDED = re.compile(r"\{\{ (\S+\.md) \}\}")  # prose that stands in a file beside the notebook
PATIENCE = 120  # seconds for a process that draws ahead; then it is drawn here
FIGURE_LIMIT = 300_000  # bytes of SVG; draw fewer marks or rasterize beyond that


def title_of(config: Mapping) -> str:
    """The question; without one the title of the textbook, or what was compared."""
    title = config.get("question") or config["report"]["title"]
    if not config.get("question") and notebook_for(config) == "question.py":
        title = f"What the {label(config['compare']['axis'])} does to training"
    return " ".join(str(title).split())


def study_folder(config: str) -> Path:
    """The folder of the study whose config is asked for: where the notebook runs, or above it.

    A notebook may be opened where it lies, in the folder of the study, or anywhere: then the study
    is that of the checkout.

    Raises
    ------
    UserError
        If there is no such study.
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
    """What the notebook's cells say: text, figures and tables, numbered in the order shown.

    Parameters
    ----------
    config : path
        The recorded config, absolute or from `study_folder`, as are the others.
    tables : path
        Folder of the tables.
    data : path or sequence of paths
        The prepared dataset or datasets.
    claims : path, optional
        The list of claims: config/claims.yaml.

    Raises
    ------
    UserError
        If a file is missing or damaged.
    """

    def __init__(
        self, config: str, tables: str, data: str | Sequence[str], claims: str = ""
    ) -> None:
        folder = study_folder(config)
        self.tables = folder / tables
        paths = [folder / path for path in ([data] if isinstance(data, str) else data)]
        opened = [open_prepared(path) for path in paths]
        for dataset in opened:
            add_prepared(dataset)  # images of the user's own are in no registry yet
        self.data = {dataset.name: dataset for dataset in opened}
        facts = {
            name: DatasetFacts(
                title=without_markup(dataset.title),
                n_classes=len(dataset.classes),
                n_train=len(dataset.train_images),
                n_test=len(dataset.test_images),
                classes=tuple(map(str, dataset.classes)),
            )
            for name, dataset in self.data.items()
        }
        self.results = Results.load(folder / config, self.tables, facts)
        self.config = self.results.config
        plugins.load(self.config.get("plugins", []))  # what the names of its levels stand for
        self.counts = {"figure": 0, "table": 0}
        self.ahead: dict[str, Connection] = {}
        # A notebook that came from another machine may name a place that is not here.
        places = (folder / claims, ROOT / claims, ROOT / "config" / Path(claims).name)
        listed = next((place for place in places if place.is_file()), None)
        self.claims = Claims.load(listed, self.tables, self.config) if listed else None

    def text(self, *paragraphs: str) -> None:
        """Show Markdown paragraphs; empty ones are left out."""
        shown = [paragraph for paragraph in paragraphs if paragraph]
        if shown:
            display(Markdown("\n\n".join(shown)))

    def bullets(self, items: Iterable[str]) -> None:
        """Show sentences as a list."""
        self.text("\n".join(f"- {item}" for item in items))

    def opening(self) -> None:
        """Show the first screen: the finding as title, what it rests on, and key numbers."""
        screen = first_screen(self.results, title_of(self.config))
        title, *rest = map(escape_markdown, [screen.title, *screen.plain])
        self.on_page(str(PARTS.opening(screen)), "\n\n".join([f"**{title}**", *rest]))

    def verdicts(self, anchors: Mapping[str, str]) -> None:
        """Show a mark for each claim that was judged, leading to the anchor given for it."""
        if (path := self.tables / "claims.csv").exists():
            self.on_page(verdicts(read_table(path, self.config), anchors), "")

    def on_page(self, content: str, text: str) -> None:
        """Show HTML, whose texts are escaped, on the page, and Markdown in Jupyter."""
        display({PAGE: content, "text/markdown": text}, raw=True)

    def each_dataset(self) -> Iterator[str]:
        """The datasets in turn, each under a heading if there are several."""
        for dataset in self.results.datasets:
            if len(self.results.datasets) > 1:
                self.text(f"#### {escape_markdown(self.results.title(dataset))}")
            yield dataset

    def numbered(self, kind: str, label: str) -> dict[str, object]:
        """The next number of a figure or table, with what links find it by.

        Its group is the label without the dataset that tells repeated figures and tables apart.
        """
        self.counts[kind] += 1
        group = label
        for dataset in self.results.datasets[1:]:
            group = group.removesuffix(f"-{dataset}")
        return {"kind": kind, "label": label, "group": group, "number": self.counts[kind]}

    def draw_ahead(self, drawings: Iterable[Drawing]) -> None:
        """Begin to draw what `figure` will show in this order, in a process for each processor."""
        if sys.platform != "linux" or (n := min(4, len(os.sched_getaffinity(0)))) == 1:
            return
        drawings = list(drawings)
        fork = multiprocessing.get_context("fork")  # to which a drawing need not be sent
        for i in range(n):
            receiver, sender = fork.Pipe(duplex=False)
            self.ahead |= {drawing.label: receiver for drawing in drawings[i::n]}
            worker = fork.Process(target=draw_all, args=(drawings[i::n], sender), daemon=True)
            with warnings.catch_warnings():  # Python 3.12 warns of threads, which draw nothing
                warnings.simplefilter("ignore", DeprecationWarning)
                worker.start()
            sender.close()

    def drawn(self, drawing: Drawing) -> Pictures:
        """The pictures of a figure, from the process that draws it ahead if one does."""
        try:
            while (ahead := self.ahead.get(drawing.label)) and ahead.poll(PATIENCE):
                label, pictures = ahead.recv()
                if label == drawing.label:
                    return pictures
        except EOFError:  # it ended before
            pass
        return drawing.pictures(PNG_DPI)

    def figure(self, drawing: Drawing, live: Mapping[str, object] | None = None) -> None:
        """Show a `look.Drawing` with its number, caption, alternative text and data.

        On a page with script, `live` makes it something to explore or to play with: its `kind` and
        what that takes. The picture stands for it on paper, without script and in Jupyter.

        Raises
        ------
        ValueError
            If the alternative text is missing or only repeats the caption, or if the pictures are
            larger than `FIGURE_LIMIT`.
        """
        if not drawing.finding.strip() or drawing.finding == drawing.caption:
            raise ValueError(f"figure {drawing.label} needs an alternative text of its own")
        drawn = self.drawn(drawing)
        if len(drawn.svg) > FIGURE_LIMIT:
            raise ValueError(f"figure {drawing.label} takes {len(drawn.svg):,} bytes")
        meta = self.numbered("figure", drawing.label)
        meta |= {"alt": drawing.finding, "caption": drawing.caption}
        table = drawing.data.to_csv(index=False, lineterminator="\n", float_format="%.7g")
        bundle = {SVG: drawn.svg, PICTURES: drawn.svgs, CSV: table}
        bundle[PNG] = base64.b64encode(drawn.png).decode()
        if live is not None:
            bundle[LIVE] = dict(live)
        width = round(min(len(drawn.svgs), 2) * WIDTH * 96)
        display(
            bundle | {"text/plain": drawing.finding},
            metadata={"bnstudy": meta, PNG: {"alt": drawing.finding, "width": width}},
            raw=True,
        )
        # For readers of the .ipynb; the HTML page puts the caption into the figure itself.
        anchor = f'<a id="fig-{drawing.label}"></a>'
        display(
            Markdown(f"{anchor}**Figure {meta['number']}.** {drawing.caption}"),
            metadata={"bnstudy": {"kind": "caption"}},
        )

    def table(self, exhibit: Exhibit | None) -> None:
        """Show a `tables.Exhibit`, if there is one, with its number; all in it is escaped."""
        if exhibit is None:
            return
        meta = self.numbered("table", exhibit.label)
        body = table_html(exhibit, meta["number"])
        plain = f"Table {meta['number']}. {exhibit.caption}"
        display({"text/html": body, "text/plain": plain}, metadata={"bnstudy": meta}, raw=True)

    def frame(
        self, label: str, caption: str, frame: pd.DataFrame, *more: object, **named: object
    ) -> None:
        """Show a table of pandas; the rest are the further fields of `tables.Exhibit`."""
        self.table(Exhibit(label, caption, frame, *more, **named))

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
        studies = {
            name: {key: value for key, value in study.items() if key != "text"}
            for name, study in self.config["studies"].items()
            if study["enabled"]
        }
        content = self.config | {"studies": studies}
        dumped = yaml.safe_dump(
            content, sort_keys=False, allow_unicode=True, default_flow_style=None
        )
        self.fold("The configuration as it was recorded", dumped)


def draw_all(drawings: Iterable[Drawing], sender: Connection) -> None:
    """Draw figures and send each with its label as soon as somebody takes it."""
    for drawing in drawings:
        sender.send((drawing.label, drawing.pictures(PNG_DPI)))


def read_notebook(path: Path, config: Mapping) -> object:
    """The notebook with the title of the study as its heading, and the prose of the files it names."""
    nb = jupytext.read(path)
    for cell in nb.cells:
        cell.source = INCLUDED.sub(lambda m: (path.parent / m[1]).read_text().strip(), cell.source)
    nb.cells[0].source = re.sub(
        r"\A# .*", lambda _: f"# {escape_markdown(title_of(config))}", nb.cells[0].source, count=1
    )
    return nb


def for_jupyter(nb: object) -> object:
    """A notebook without what only the page shows: references get their numbers there."""
    places = {name: found[0][1] for name, found in numbered_anchors(nb).items()}

    def numbered(text: str) -> str:
        return REFERENCE.sub(lambda m: f"[{m[1]} {places.get(m[2], '')}](#{m[2]})", text)

    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = numbered(cell.source)
        for output in cell.get("outputs", []):
            for kind in (PICTURES, PAGE, LIVE):
                output.get("data", {}).pop(kind, None)
            if "text/markdown" in output.get("data", {}):
                output.data["text/markdown"] = numbered(output.data["text/markdown"])
    return nb


def figure_files(nb: object) -> dict[str, bytes]:
    """The figures of an executed notebook as SVG and PNG and their data as CSV, by file name."""
    files = {}
    for output, meta in numbered_outputs(nb):
        if meta["kind"] == "figure":
            files[f"{meta['label']}.svg"] = output.data[SVG].encode()
            files[f"{meta['label']}.png"] = base64.b64decode(output.data[PNG])
            files[f"{meta['label']}.csv"] = output.data[CSV].encode()
    return files


def relative(path: Path) -> str:
    """A path below the working directory as seen from there, so that no machine's paths are kept."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def report(
    *,
    config: Path,
    tables: Path,
    claims: Path,
    data: Sequence[Path],
    notebook: Path,
    figures: Path,
    ipynb: Path,
    html: Path,
    failed_copy: Path,
) -> None:
    """Execute the notebook and write the page, the executed notebook and the figures.

    Raises
    ------
    UserError
        If an input is missing, a cell fails, a formula is not valid TeX or a link leads nowhere.
    """
    for path in (config, tables / "runs.csv", claims, notebook, *data):
        if not path.exists():
            raise UserError(
                f"the report needs {path}, which does not exist; run `snakemake tables`"
            )
    places = {"config": config, "tables": tables, "claims": claims}
    parameters = {name: relative(path) for name, path in places.items()}
    parameters["data"] = [relative(path) for path in data]
    recorded = read_yaml(config)
    nb = execute(read_notebook(notebook, recorded), parameters, failed_copy)
    partial = " (partial)" * (tables / "missing.csv").exists()
    nb.metadata["title"] = title_of(recorded) + partial
    nb.metadata["description"] = "A paired study with several seeds, from runs to verdicts."
    try:
        page = page_of(nb, notebook.parent / "templates")
    except UserError:
        write_atomically(failed_copy, nbformat.writes(nb).encode())
        raise
    for name, figure in figure_files(nb).items():
        write_atomically(figures / name, figure)
    write_atomically(ipynb, (nbformat.writes(for_jupyter(nb)) + "\n").encode())
    write_atomically(html, page.encode())


def main(argv: list[str]) -> None:
    """Run `bnstudy report`."""
    parser = parser_of("report")
    places = {
        "config": "the recorded config",
        "tables": "folder of the tables",
        "claims": "config/claims.yaml",
        "data": "prepared dataset, or several",
        "notebook": "the notebook's source (.py)",
        "figures": "folder for SVG, PNG and CSV files",
        "ipynb": "the executed notebook",
        "html": "the page",
        "failed-copy": "the notebook as far as it came (default: beside --ipynb)",
    }
    for name, text in places.items():
        several, required = "+" if name == "data" else None, name != "failed-copy"
        parser.add_argument(f"--{name}", type=Path, help=text, nargs=several, required=required)
    said = parser.parse_args(argv)
    said.failed_copy = said.failed_copy or said.ipynb.with_suffix(".failed.ipynb")
    report(**vars(said))
