"""Hashes that tell results of different code or settings apart."""

import os
import re
import shutil
import subprocess

import pytest

from bnstudy import provenance


def test_code_hash_follows_the_content_of_training_code(tmp_path, monkeypatch):
    package = shutil.copytree(provenance.PACKAGE, tmp_path / "bnstudy")
    original = provenance.code_sha256()
    monkeypatch.setattr(provenance, "PACKAGE", package)
    assert provenance.code_sha256() == original
    (package / "report/figures.py").write_text("edited")
    assert provenance.code_sha256() == original
    (package / "networks/mlp.py").write_text((package / "networks/mlp.py").read_text() + "\n")
    assert provenance.code_sha256() != original


ATTRIBUTES = provenance.PACKAGE.parents[1] / ".gitattributes"


@pytest.mark.skipif(not ATTRIBUTES.exists(), reason="not a clone: an archive has no .gitattributes")
@pytest.mark.parametrize("there", [True, False])
def test_a_checkout_as_on_windows_has_the_same_code_hash(tmp_path, monkeypatch, there):
    """By git as its installer for Windows sets it: without .gitattributes every line would differ."""
    package = shutil.copytree(provenance.PACKAGE, tmp_path / "workflow/bnstudy")
    if there:
        shutil.copy(ATTRIBUTES, tmp_path)
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "all"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    shutil.rmtree(package)
    windows = ["git", "-C", tmp_path, "-c", "core.autocrlf=true", "checkout", "-q", "--", "."]
    subprocess.run(windows, check=True)
    original = provenance.code_sha256()
    monkeypatch.setattr(provenance, "PACKAGE", package)
    assert (provenance.code_sha256() == original) is there


@pytest.mark.parametrize("module", ["data.prepare", "tables.aggregate", "claims.judge"])
def test_what_a_list_in_yaml_says_is_code_of_whoever_imports_its_reader(tmp_path, monkeypatch, module):
    """Names and sizes of the datasets stand in data/registry.yaml, which registry.py reads."""
    root = tmp_path / "checkout"
    shutil.copytree(provenance.PACKAGE, root / "workflow/bnstudy")
    monkeypatch.setattr(provenance, "PACKAGE", root / "workflow/bnstudy")
    before = provenance.code_sha256(provenance.imported_code.__wrapped__(module))
    registry = root / "workflow/bnstudy/data/registry.yaml"
    registry.write_text(registry.read_text().replace("Fashion-MNIST", "Clothes"))
    assert provenance.code_sha256(provenance.imported_code.__wrapped__(module)) != before


def test_settings_hash_ignores_the_order_of_keys():
    assert provenance.config_sha256({"a": 1, "b": (2,)}) == provenance.config_sha256({"b": [2], "a": 1})
    assert provenance.config_sha256({"a": 1}) != provenance.config_sha256({"a": 2})


def test_commit_is_a_hash_or_unknown():
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", provenance.git_commit())


def test_a_repository_around_the_package_is_not_taken_for_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "workflow" / "bnstudy")
    (tmp_path / "workflow" / "bnstudy").mkdir(parents=True)
    assert provenance.git_commit() == "unknown"


@pytest.mark.fault("no history: no git, a shallow clone, an edit")
def test_a_commit_comes_before_another(tmp_path, monkeypatch):
    """In a repository of its own: of the list, of later runs, and of an edit that is not committed."""
    package = tmp_path / "workflow/bnstudy"
    package.mkdir(parents=True)
    monkeypatch.setattr(provenance, "PACKAGE", package)
    path = tmp_path / "claims.yaml"

    def git(*words):
        named = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        subprocess.run(["git", "-C", tmp_path, *named, *words], check=True, capture_output=True)

    assert provenance.last_commit(path) == "unknown"
    git("init", "-b", "main")
    commits = []
    for name, text in (("claims.yaml", "a"), ("code", "b"), ("claims.yaml", "c")):
        (tmp_path / name).write_text(text)
        git("add", name)
        git("commit", "-m", name)
        commits.append(provenance.git_commit())
    first, runs, changed = commits
    assert provenance.last_commit(path) == changed
    assert provenance.came_before(first, runs) == provenance.came_before(runs, runs) == "yes"
    assert provenance.came_before(changed, runs) == "no"
    assert provenance.came_before("unknown", runs) == provenance.came_before("0" * 40, runs) == "unknown"
    path.write_text("d")
    assert provenance.last_commit(path) == "unknown"
    # A shallow clone has the commit, but no history to tell since when the list has been as it is.
    subprocess.run(["git", "clone", "-q", "--depth=1", tmp_path.as_uri(), tmp_path / "shallow"], check=True)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "shallow/workflow/bnstudy")
    assert provenance.git_commit() == changed
    assert provenance.last_commit(tmp_path / "shallow/claims.yaml") == "unknown"


@pytest.mark.fault("another user's checkout")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_git_says_nothing_of_another_users_checkout(tmp_path, monkeypatch):
    """It refuses to look at it, and that stops nothing."""
    package = tmp_path / "workflow/bnstudy"
    package.mkdir(parents=True)
    monkeypatch.setattr(provenance, "PACKAGE", package)
    words = ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty"]
    for command in (["init", "-q"], [*words, "-m", "mine"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    assert provenance.git_commit() != "unknown"
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 12345, 12345)
    monkeypatch.setenv("HOME", str(tmp_path))  # whose settings may trust every folder
    assert provenance.git_commit() == provenance.last_commit(package) == "unknown"


@pytest.mark.fault("GIT_DIR of another repository")
def test_the_commit_is_that_of_the_checkout_whatever_git_is_told(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    words = ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty"]
    subprocess.run(["git", "-C", tmp_path, *words, "-m", "another"], check=True)
    before = provenance.git_commit()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(provenance.PACKAGE.parents[1]))
    assert provenance.git_commit() == before


@pytest.mark.parametrize("flag", provenance.FLAGS)
def test_flags_that_change_numbers_are_in_the_environment(monkeypatch, flag):
    for name in provenance.FLAGS:
        monkeypatch.delenv(name, raising=False)
    plain = provenance.software.__wrapped__()
    monkeypatch.setenv(flag, "1")
    assert provenance.software.__wrapped__() == f"{plain}, {flag}=1"


def test_the_environment_says_what_pytorch_says_of_itself():
    import torch

    assert f"PyTorch {torch.__version__}," in provenance.software.__wrapped__() + ","
    level = torch.backends.cpu.get_cpu_capability().lower()
    assert level == "default" or level in provenance.processor()
