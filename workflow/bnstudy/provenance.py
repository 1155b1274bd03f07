"""What a result came from: code, commit, settings and software versions."""

import ast
import hashlib
import importlib.util
import json
import os
import platform
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from bnstudy import plugins
from bnstudy.errors import UserError

PACKAGE = Path(__file__).parent
UNKNOWN = "unknown"
# What every run and every row of a study says of where it comes from.
ORIGIN = ("code_sha256", "config_sha256", "data_sha256", "environment")
# Variables by which somebody changes the numbers of the libraries that train.
FLAGS = (
    *("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS"),
    *("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "OPENBLAS_CORETYPE"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "PYTORCH_MPS_FAST_MATH"),
)
# What the libraries choose their kernels by, the best first, as /proc/cpuinfo names it.
INSTRUCTIONS = ("avx512_vnni", "avx512f", "avx2")


@cache
def imported_code(module: str) -> tuple[str, ...]:
    """Files of the package that a module needs, itself and lists in YAML beside them included.

    They are found by reading its imports. The module is named below the package, such as "training.loop"; so are the
    files, sorted.
    """
    found: set[str] = set()
    open_names = {"__init__", module}
    while open_names:
        name = open_names.pop()
        path = name.replace(".", "/")
        file = f"{path}.py" if (PACKAGE / f"{path}.py").is_file() else f"{path}/__init__.py"
        if file in found or not (PACKAGE / file).is_file():
            continue
        found |= {file, f"{path}.yaml"} if (PACKAGE / f"{path}.yaml").is_file() else {file}
        open_names |= {name.rpartition(".")[0] or name, *own_imports(file)}
    return tuple(sorted(found))


@cache  # Snakemake asks for every study, and they share most files
def own_imports(file: str) -> frozenset[str]:
    """What a file of the package imports from the package: modules, and names that may be modules."""
    found: set[str] = set()
    statements = [ast.parse((PACKAGE / file).read_text(encoding="utf-8"))]
    while statements:  # and no expressions: nine tenths of a tree
        node = statements.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []  # never imported
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            statements += getattr(node, part, [])
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found.update(n.removeprefix("bnstudy.") for n in names if n.startswith("bnstudy."))
    return frozenset(found)


# The files that decide what is recorded of a run: editing one of them, and only these, trains again. What prints,
# parses and waits is elsewhere.
TRAINING_CODE = (*imported_code("training.loop"), "scoring.py", "training/record.py")
# What names, hashes, checks and writes: imported by what decides rows, and decides none.
NEUTRAL_CODE = {*(*imported_code("provenance"), *imported_code("settings"), *imported_code("files"))} - set(
    TRAINING_CODE
)


def code_sha256(files: tuple[str, ...] = TRAINING_CODE) -> str:
    """SHA-256 over the names and contents of the package's `files` and of the user's plug-ins, in hex."""
    digest = hashlib.sha256()
    for content in plugins.sha256s():
        digest.update(content.encode())
    for name in files:
        content = (PACKAGE / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepared_header(prepared: Path) -> dict[str, str]:
    """What the header of a prepared dataset says, without opening it with PyTorch; else it is refused."""
    try:
        with open(prepared, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        found = json.loads(header["__metadata__"]["bnstudy"])
        return found | {"sha256": found["sha256"]}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise UserError(
            f"{prepared} is missing, damaged or not a prepared dataset: make it again with "
            "`snakemake --forcerun prepare` or `bnstudy prepare`"
        ) from error


Rows = Iterable[tuple[str, dict]]  # each with the name by which it is told


def check_unmixed(rows: Rows, key: str, what: str, remedy: str) -> None:
    """Refuse rows that differ in where they come from, naming the two largest groups of them."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, row in rows:
        groups[row[key]].append(name)
    if len(groups) > 1:
        largest = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))[:2]
        shown = {h: h if " " in h else h[:12] for h in groups}
        named = " and ".join(f"{len(m)} of {shown[h]} (as {m[0]})" for h, m in largest)
        raise UserError(
            f"the runs come from {len(groups)} versions of {what} and cannot be compared: {named}; {remedy}."
        )


def check_origins(rows: Rows, code: str, data: Iterable[Path], *, allow_mixed_code: bool) -> None:
    """Refuse rows of several versions of the code or environments, or of other data than these files."""
    rows = list(rows)
    if not allow_mixed_code:
        remedy = "run `snakemake` to make what is out of date again, or pass --allow-mixed-code"
        check_unmixed(rows, "code_sha256", code, remedy)
    remedy = "run `snakemake` on one kind of machine to train the others again"
    check_unmixed(rows, "environment", "their environment", remedy)
    known = {prepared_header(path)["sha256"]: str(path) for path in data}
    strange = [name for name, row in rows if row["data_sha256"] not in known]
    if known and strange:
        raise UserError(
            f"{len(strange)} of {len(rows)} (as {strange[0]}) were measured on other data than "
            f"{', '.join(known.values())} now holds; remove them and run `snakemake` again."
        )


def environment(hardware: str) -> str:
    """Everything around a run that changes its numbers, in a line; see `processor` for the hardware."""
    return f"{software()} on {hardware}"


@cache
def software() -> str:
    """What is installed and chosen that changes numbers. PyTorch is asked without importing it."""
    # As it says it itself: the package's metadata do not tell one build from another.
    torch = Path(importlib.util.find_spec("torch").origin).with_name("version.py")
    build = re.search(r"__version__ = '([^']+)'", torch.read_text(encoding="utf-8"))[1]
    python = ".".join(platform.python_version_tuple()[:2])  # 3.12 sums floats otherwise than 3.11
    flags = [f"{name}={os.environ[name]}" for name in FLAGS if os.environ.get(name)]
    return ", ".join([f"Python {python}", f"PyTorch {build}", f"NumPy {version('numpy')}", *flags])


@cache
def processor() -> str:
    """Maker and instructions of the CPU: what matrix products choose their kernels by."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        known = dict(re.findall(r"^(vendor_id|flags)\s*: (.*)$", text, re.MULTILINE))
        best = next(name for name in INSTRUCTIONS if name in known["flags"].split())
        return f"cpu {known['vendor_id']} {best}"
    except (OSError, KeyError, StopIteration):
        return f"cpu {platform.machine()}"


def config_sha256(settings: dict) -> str:
    """SHA-256 of settings, whatever the order of their keys, as 64 hex digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def git_commit() -> str:
    """The commit checked out where the package lies, or "unknown" outside its own repository."""
    code, said = git("rev-parse", "--show-toplevel", "HEAD")
    if code != 0:
        return UNKNOWN
    top, commit = said.splitlines()
    return commit if Path(top).resolve() == PACKAGE.parent.parent.resolve() else UNKNOWN


def git(*words: str) -> tuple[int, str]:
    """Exit status and output of git where the package lies; status 127 where there is none."""
    root = PACKAGE.parent.parent
    # GIT_DIR and the like may name another repository.
    own = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    how = {"capture_output": True, "text": True, "env": own}
    try:
        done = subprocess.run(["git", "-C", root, *words], check=False, **how)
    except OSError:
        return 127, ""
    return done.returncode, done.stdout


def last_commit(path: Path) -> str:
    """The commit that a file of the checkout is from, "unknown" if its content is not committed."""
    code, changed = git("status", "--porcelain", "--", str(path.resolve()))
    # The history of a shallow clone ends before git can tell.
    shallow = git("rev-parse", "--is-shallow-repository")[1].strip() == "true"
    if code != 0 or changed or shallow or git_commit() == UNKNOWN:
        return UNKNOWN
    return git("log", "-1", "--format=%H", "--", str(path.resolve()))[1].strip() or UNKNOWN


def came_before(first: str, second: str) -> str:
    """Whether a commit is an ancestor of another, or it itself: yes, no, or unknown to this repository."""
    code, _ = git("merge-base", "--is-ancestor", first, second)
    return {0: "yes", 1: "no"}.get(code, UNKNOWN)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results and report depend on."""
    packages = (
        *("torch", "torchvision", "numpy", "pandas", "scipy", "statsmodels"),
        *("snakemake", "papermill", "nbconvert", "matplotlib", "seaborn"),
    )
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
