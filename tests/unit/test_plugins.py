"""Files of the user: loaded once, told apart, and refused with one sentence."""

import pytest

from bnstudy import plugins, provenance
from bnstudy.errors import UserError


@pytest.fixture(autouse=True)
def unloaded(monkeypatch):
    monkeypatch.setattr(plugins, "LOADED", {})


def test_a_plugin_adds_to_a_registry_and_counts_as_code(tmp_path, monkeypatch):
    before = provenance.code_sha256()
    file = tmp_path / "mine.py"
    file.write_text("import sys\nsys.loaded_mine = getattr(sys, 'loaded_mine', 0) + 1\n")
    plugins.load([file])
    plugins.load([file])
    import sys

    assert sys.loaded_mine == 1
    after = provenance.code_sha256()
    assert after != before
    file.write_text(file.read_text() + "# edited\n")
    assert provenance.code_sha256() not in (before, after)
    # Where it lies does not count.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = file.rename(elsewhere / "mine.py")
    monkeypatch.setattr(plugins, "LOADED", {"bnstudy_plugin_mine": moved})
    edited = provenance.code_sha256()
    monkeypatch.setattr(plugins, "LOADED", {})
    assert provenance.code_sha256() == before != edited


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "there is no file"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_sentence(tmp_path, content, says):
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError) as caught:
        plugins.load([file])
    assert str(file) in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not plugins.LOADED


def test_two_files_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("")
    with pytest.raises(UserError, match="rename one of them"):
        plugins.load([tmp_path / "a/mine.py", tmp_path / "b/mine.py"])
