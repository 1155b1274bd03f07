"""Executing a notebook in this very Python, whatever Jupyter the machine has."""

import re
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from bnstudy.errors import UserError
from bnstudy.files import replacing

FIRST_ERROR_LINES = 3  # what matters of a long message stands at its start
# The path of a socket is short, some 100 characters, and that of TMPDIR may be long.
PLACE = tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else "/tmp"
KERNEL = {"display_name": "Python 3", "language": "python"}


class OwnKernelManager(AsyncKernelManager):
    """Runs this Python; a pandas.py in the working folder is not what the cells import."""

    kernel_spec = KernelSpec(
        argv=[
            *(sys.executable, "-P", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
            "--InteractiveShellApp.ignore_cwd=True",
        ],
        **KERNEL,
    )


def execute(
    nb: nbformat.NotebookNode, parameters: dict, failed_copy: Path
) -> nbformat.NotebookNode:
    """Execute a notebook and return it, cleaned of times, durations and random ids.

    Raises
    ------
    UserError
        If a cell fails; the notebook as far as it came is then at `failed_copy`.
    """
    from papermill.parameterize import parameterize_notebook

    nb.metadata = {
        "kernelspec": KERNEL | {"name": "python3"},
        "language_info": {"name": "python"},
        "papermill": {},
    }
    for cell in nb.cells:
        cell.metadata.setdefault("tags", [])
    nb = parameterize_notebook(nb, parameters, kernel_name="python3", language="python")
    with tempfile.TemporaryDirectory(prefix="bnstudy-", dir=PLACE) as folder:
        kernel = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        client = NotebookClient(
            nb,
            kernel_manager_class=OwnKernelManager,
            config=Config({"OwnKernelManager": kernel}),
            extra_arguments=[f"--ipython-dir={folder}"],  # in place of ~/.ipython
        )
        try:
            client.execute()
        except CellExecutionError as error:
            write_atomically(failed_copy, nbformat.writes(nb).encode())
            reason = " ".join(str(error.evalue).splitlines()[:FIRST_ERROR_LINES])
            raise UserError(
                f"the report stopped in {failing_cell(nb)}: {error.ename}: {reason}; the notebook as "
                f"far as it came is in {failed_copy}"
            ) from None
        except RuntimeError as error:
            raise UserError(
                f"the process that executes the report ended by itself ({error}); it may have run "
                "out of memory"
            ) from error
    nb.metadata["language_info"] = {"name": "python"}
    for i, cell in enumerate(nb.cells):
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if not is_warning(output)]
        cell.id = f"cell-{i}"
        cell.metadata = {"tags": cell.metadata.tags}
    return nb


def failing_cell(nb: nbformat.NotebookNode) -> str:
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


def is_warning(output: nbformat.NotebookNode) -> bool:
    """Whether an output went to stderr; it goes to ours, for it may name paths of this machine."""
    warning = output.output_type == "stream" and output.name == "stderr"
    if warning:
        print(output.text, file=sys.stderr, end="")
    return warning


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, binary=True) as file:
        file.write(content)
