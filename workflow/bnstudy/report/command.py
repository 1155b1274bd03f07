"""`bnstudy report`: executes the notebook, renders the page, and writes both with the figures."""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jupytext
import nbformat

from bnstudy.cli import parser_of
from bnstudy.config import notebook_for
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.report.execution import execute, write_atomically
from bnstudy.report.rendering import (
    CSV,
    LIVE,
    PAGE,
    PICTURES,
    PNG,
    SVG,
    escape_markdown,
    numbered_anchors,
    numbered_outputs,
    page_of,
)
from bnstudy.settings import label

REFERENCE = re.compile(r"\[(figure|table)\]\(#((?:fig|tab)-[\w-]+)\)", re.IGNORECASE)
INCLUDED = re.compile(r"\{\{ (\S+\.md) \}\}")  # prose that stands in a file beside the notebook
FILES = {
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


def title_of(config: Mapping) -> str:
    """The question; without one the title of the textbook, or what was compared."""
    title = config.get("question") or config["report"]["title"]
    if not config.get("question") and notebook_for(config) == "question.py":
        title = f"What the {label(config['compare']['axis'])} does to training"
    return " ".join(str(title).split())


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
    whole, here = path.resolve(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else path)


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
    for name, text in FILES.items():
        several, required = "+" if name == "data" else None, name != "failed-copy"
        parser.add_argument(f"--{name}", type=Path, help=text, nargs=several, required=required)
    said = parser.parse_args(argv)
    said.failed_copy = said.failed_copy or said.ipynb.with_suffix(".failed.ipynb")
    report(**vars(said))
