"""Executing a notebook by papermill in this very Python, whatever Jupyter the machine has."""

import re
import sys
import tempfile
from pathlib import Path

import nbformat

from bnstudy.errors import UserError
from bnstudy.files import replacing

FIRST_ERROR_LINES = 3  # what matters of a long message stands at its start


def kernel_manager_class(folder: Path) -> type:
    """A kernel manager that runs this very Python, apart from any Jupyter set-up of the machine.

    The kernel talks through sockets in `folder`, whose path must be short, and reads no start-up
    files of the user.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    settings = folder / "ipython"  # an empty folder in place of ~/.ipython
    settings.mkdir()
    spec = KernelSpec(
        argv=[
            *(sys.executable, "-P", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
            # A pandas.py in the working folder is not what the cells import.
            *(f"--ipython-dir={settings}", "--InteractiveShellApp.ignore_cwd=True"),
        ],
        display_name="Python 3",
        language="python",
    )

    class OwnKernelManager(AsyncKernelManager):
        def __init__(self, **kwargs: object) -> None:
            kwargs |= {"transport": "ipc", "connection_file": str(folder / "kernel.json")}
            super().__init__(**kwargs)

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

    return OwnKernelManager


def execute(nb: object, parameters: dict, failed_copy: Path) -> object:
    """Execute a notebook and return it, cleaned of times, durations and random ids.

    Raises
    ------
    UserError
        If a cell fails; the notebook as far as it came is then at `failed_copy`.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    # The path of a socket is short, some 100 characters, and that of TMPDIR may be long.
    place = tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else "/tmp"
    with tempfile.TemporaryDirectory(prefix="bnstudy-", dir=place) as temporary:
        folder = Path(temporary)
        executed = folder / "executed.ipynb"
        try:
            papermill.execute_notebook(
                nb,
                executed,
                parameters=parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                kernel_manager_class=kernel_manager_class(folder),
            )
        except PapermillExecutionError as error:
            content = executed.read_bytes()
            write_atomically(failed_copy, content)
            cell = failing_cell(nbformat.reads(content.decode(), as_version=4))
            reason = " ".join(str(error.evalue).splitlines()[:FIRST_ERROR_LINES])
            raise UserError(
                f"the report stopped in {cell}: {error.ename}: {reason}; the notebook as far as it "
                f"came is in {failed_copy}"
            ) from None
        except (DeadKernelError, RuntimeError) as error:
            raise UserError(
                f"the process that executes the report ended by itself ({error}); it may have run "
                "out of memory"
            ) from error
        return cleaned(nbformat.read(executed, as_version=4))


def failing_cell(nb: object) -> str:
    """Name the cell that raised: its section and its first line."""
    section = "the notebook"
    for cell in nb.cells:
        if cell.cell_type == "markdown" and "papermill-error-cell-tag" not in cell.metadata.get(
            "tags", []
        ):
            headings = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)
            section = f"the section '{headings[-1]}'" if headings else section
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            first = next((line for line in cell.source.splitlines() if line.strip()), "")
            return f"{section}, cell '{first}'"
    return section


def cleaned(nb: object) -> object:
    """Leave in a notebook only what depends on the study."""
    parameters = nb.metadata.papermill.parameters
    nb.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "papermill": {"parameters": parameters},
    }
    for i, cell in enumerate(nb.cells):
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if not is_warning(output)]
        cell.id = f"cell-{i}"
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
    return nb


def is_warning(output: object) -> bool:
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
