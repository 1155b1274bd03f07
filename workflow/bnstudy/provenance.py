"""What a result came from: code, commit, settings and software versions."""

import hashlib
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).parent

# Every module of the package that `bnstudy train` imports. The workflow gives them to the training
# jobs as inputs, so that editing one of them, and only these, trains again.
TRAINING_CODE = (
    "__init__.py",
    "cli.py",
    "devices.py",
    "errors.py",
    "models.py",
    "optimizers.py",
    "prepared.py",
    "provenance.py",
    "splits.py",
    "training.py",
)


def code_sha256(files: tuple[str, ...] = TRAINING_CODE) -> str:
    """SHA-256 over the names and contents of the package's `files`, as 64 hex digits."""
    digest = hashlib.sha256()
    for name in files:
        content = (PACKAGE / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def config_sha256(settings: dict) -> str:
    """SHA-256 of settings, whatever the order of their keys, as 64 hex digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def git_commit() -> str:
    """The commit checked out where the package lies, or "unknown" outside its own repository.

    Uncommitted edits do not show here; `code_sha256` tells them.
    """
    root = PACKAGE.parent.parent
    try:
        answer = subprocess.run(
            ["git", "-C", root, "rev-parse", "--show-toplevel", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    top, commit = answer.stdout.splitlines()
    return commit if Path(top).resolve() == root.resolve() else "unknown"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results and report depend on."""
    packages = (
        *("torch", "torchvision", "numpy", "pandas", "scipy", "statsmodels"),
        *("snakemake", "papermill", "nbconvert", "matplotlib", "seaborn"),
    )
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
