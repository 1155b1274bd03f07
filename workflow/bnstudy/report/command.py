"""`bnstudy report`: executes the notebook by papermill, renders the page, and writes both with the figures.

The notebook runs in this very Python, whatever Jupyter the machine has.
"""

import base64
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode
from traitlets.config import Config

from bnstudy.cli import parser_of
from bnstudy.config import notebook_for
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.files import replacing
from bnstudy.report import rendering
from bnstudy.report.rendering import CSV, LIVE, PAGE, PICTURES, PNG, SVG
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

FIRST_ERROR_LINES = 3  # what matters of a long message stands at its start
# The path of a socket is short, some 100 characters, and that of TMPDIR may be long.
PLACE = tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else "/tmp"
KERNEL = {"display_name": "Python 3", "language": "python"}


def title_of(config: Mapping) -> str:
    """The question; without one the title of the textbook, or what was compared."""
    title = config.get("question") or config["report"]["title"]
    if not config.get("question") and notebook_for(config) == "question.py":
        title = f"What the {label(config['compare']['axis'])} does to training"
    return " ".join(str(title).split())


def read_notebook(path: Path, config: Mapping) -> NotebookNode:
    """The notebook with the title of the study as its heading, and the prose of the files it names."""
    nb = jupytext.read(path)
    for cell in nb.cells:
        cell.source = INCLUDED.sub(lambda m: (path.parent / m[1]).read_text().strip(), cell.source)
    nb.cells[0].source = re.sub(
        r"\A# .*", lambda _: f"# {rendering.escape_markdown(title_of(config))}", nb.cells[0].source
    )
    return nb


class OwnKernelManager(AsyncKernelManager):
    """Runs this Python; a pandas.py in the working folder is not what the cells import."""

    kernel_spec = KernelSpec(
        argv=[
            *(sys.executable, "-P", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
            "--InteractiveShellApp.ignore_cwd=True",
        ],
        **KERNEL,
    )


def execute(nb: NotebookNode, parameters: dict, failed_copy: Path) -> NotebookNode:
    """Execute a notebook and return it, cleaned of times, durations and random ids.

    A cell that fails is a UserError; the notebook as far as it came is then at `failed_copy`.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    with tempfile.TemporaryDirectory(prefix="bnstudy-", dir=PLACE) as folder:
        kernel = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        ours = {"kernel_name": "python3", "kernel_manager_class": OwnKernelManager}
        ours |= {"language": "python", "config": Config({"OwnKernelManager": kernel})}
        ours |= {"extra_arguments": [f"--ipython-dir={folder}"]}  # in place of ~/.ipython
        quiet = {"progress_bar": False, "request_save_on_cell_execute": False}  # takes a second
        executed = Path(folder, "executed.ipynb")
        try:
            nb = papermill.execute_notebook(nb, executed, parameters, **ours, **quiet)
        except PapermillExecutionError as error:
            write_atomically(failed_copy, executed.read_bytes())
            place = failing_cell(nbformat.read(failed_copy, 4))
            reason = " ".join(str(error.evalue).splitlines()[:FIRST_ERROR_LINES])
            why = f"{error.ename}: {reason}; the notebook as far as it came is in {failed_copy}"
            raise UserError(f"the report stopped in {place}: {why}") from None
        except RuntimeError as error:
            ended = f"the process that executes the report ended by itself ({error})"
            raise UserError(f"{ended}; it may have run out of memory") from error
    nb.metadata = {
        "kernelspec": KERNEL | {"name": "python3"},
        "language_info": {"name": "python"},
        "papermill": {"parameters": parameters},
    }
    for i, cell in enumerate(nb.cells):
        for output in [one for one in cell.get("outputs", []) if one.get("name") == "stderr"]:
            print(output.text, file=sys.stderr, end="")  # it may name paths of this machine
            cell.outputs.remove(output)
        cell.id = f"cell-{i}"
        cell.metadata = {"tags": cell.metadata.tags}
    return nb


def failing_cell(nb: NotebookNode) -> str:
    """Name the cell that raised: its section and its first line."""
    section = "the notebook"
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE):
                section = f"the section '{heading}'"
        elif any(output.output_type == "error" for output in cell.outputs):
            first = next(filter(str.strip, cell.source.splitlines()), "")
            return f"{section}, cell '{first}'"
    return section


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    with replacing(path, binary=True) as file:
        file.write(content)


def for_jupyter(nb: NotebookNode) -> NotebookNode:
    """A notebook without what only the page shows: references get their numbers there."""
    places = {name: found[0][1] for name, found in rendering.numbered_anchors(nb).items()}

    def numbered(text: str) -> str:
        return REFERENCE.sub(lambda m: f"[{m[1]} {places.get(m[2], '')}](#{m[2]})", text)

    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = numbered(cell.source)
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            for kind in data.keys() & {PICTURES, PAGE, LIVE}:
                del data[kind]
            if "text/markdown" in data:
                data["text/markdown"] = numbered(data["text/markdown"])
    return nb


def relative(path: Path) -> str:
    """A path below the working directory as seen from there, so that no machine's paths are kept."""
    whole, here = path.resolve(), Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else path)


def report(
    *, config: Path, tables: Path, claims: Path, data: Sequence[Path], notebook: Path,
    figures: Path, ipynb: Path, html: Path, failed_copy: Path,
) -> None:  # fmt: skip
    """Execute the notebook and write the page, the executed notebook and the figures.

    A missing input, a cell that fails, bad TeX and a link that leads nowhere are a UserError.
    """
    for path in (config, tables / "runs.csv", claims, notebook, *data):
        if not path.exists():
            why = "which does not exist; run `snakemake tables`"
            raise UserError(f"the report needs {path}, {why}")
    parameters = {"config": relative(config), "tables": relative(tables)}
    parameters |= {"claims": relative(claims), "data": list(map(relative, data))}
    recorded = read_yaml(config)
    nb = execute(read_notebook(notebook, recorded), parameters, failed_copy)
    partial = " (partial)" * (tables / "missing.csv").exists()
    nb.metadata["title"] = title_of(recorded) + partial
    nb.metadata["description"] = "A paired study with several seeds, from runs to verdicts."
    try:
        page = rendering.page_of(nb, notebook.parent / "templates")
    except UserError:
        write_atomically(failed_copy, nbformat.writes(nb).encode())
        raise
    for output, meta in rendering.numbered_outputs(nb):
        if meta["kind"] == "figure":
            svg, png, csv = (output.data[kind].encode() for kind in (SVG, PNG, CSV))
            for ending, content in (("svg", svg), ("png", base64.b64decode(png)), ("csv", csv)):
                write_atomically(figures / f"{meta['label']}.{ending}", content)
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
