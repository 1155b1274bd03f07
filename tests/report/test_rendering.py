"""What the exporter refuses, and what it makes of single pieces."""

import html
from urllib.parse import unquote
from xml.etree import ElementTree

import nbformat
import pytest

from bnstudy.errors import UserError
from bnstudy.report.rendering import check_links, page_of, svg_uri, themed, to_mathml
from bnstudy.report.svg import compact
from conftest import ROOT, render

TEMPLATES = ROOT / "report" / "templates"


def rendered(*cells: str) -> str:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(cell) for cell in cells])
    return page_of(nb, TEMPLATES)


@pytest.mark.parametrize("tex", [r"\frac{1}{", r"\nosuchcommand x", r"\begin{matrix} 1"])
def test_bad_tex_stops_the_build_and_names_the_formula(tex):
    with pytest.raises(UserError) as error:
        rendered(f"A formula: ${tex}$.")
    assert repr(tex) in str(error.value)


def test_tex_is_kept_as_annotation():
    assert r'<annotation encoding="application/x-tex">\hat{x}_i' in to_mathml(r"\hat{x}_i", display=False)


def test_raw_html_in_markdown_is_text():
    page = rendered("An <img src=x onerror=alert(1)> and\n\n<script>alert(1)</script>")
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page


def test_dangling_reference_stops_the_build():
    with pytest.raises(UserError, match="#fig-nowhere"):
        rendered("See [figure](#fig-nowhere).")
    with pytest.raises(UserError, match="#nowhere"):
        rendered("See [this](#nowhere).")


def test_double_anchor_stops_the_build():
    with pytest.raises(UserError, match="'a'"):
        check_links('<p id="a"></p><p id="a"></p>')


def test_equal_headings_get_different_anchors():
    page = rendered("## 1. Data\n\n### More\n\n## 2. Data")
    assert 'id="data"' in page
    assert 'id="data-2"' in page


def test_colours_follow_the_reader():
    svg = themed('<svg xmlns="x"><path style="fill: #0173b2; stroke: #1b1f24"/></svg>')
    assert "#0173b2" not in svg.split("</style>")[1]
    assert "prefers-color-scheme:dark" in svg


def test_quotes_within_an_attribute_leave_the_picture_whole():
    svg = '<svg xmlns="x"><text style="font-family: \'A B\'" class="c">it\'s</text></svg>'
    uri = html.unescape(svg_uri(svg)).removeprefix("data:image/svg+xml,")
    text = ElementTree.fromstring(unquote(uri))[0]
    assert (text.attrib, text.text) == ({"style": "font-family: 'A B'", "class": "c"}, "it's")


def test_failing_cell_keeps_the_notebook(tmp_path, images):
    notebook = tmp_path / "notebook.py"
    notebook.write_text(
        '# %% tags=["parameters"]\nconfig = tables = data = ""\n\n'
        "# %% [markdown]\n# ## 1. First\n\n# %%\nprint('went well')\n\n"
        "# %% [markdown]\n# ## 2. Second\n\n# %%\n{}['missing']\n"
    )
    folder = tmp_path / "study"
    (folder / "results" / "tables").mkdir(parents=True)
    (folder / "results" / "run_config.yaml").write_text("report: {title: x}")
    (folder / "results" / "tables" / "runs.csv").write_text("")
    with pytest.raises(UserError) as error:
        render(folder, [images], notebook)
    message = str(error.value)
    assert "'2. Second'" in message
    assert "KeyError: 'missing'" in message
    assert "{}['missing']" in message
    assert str(folder / "failed.ipynb") in message
    assert "went well" in (folder / "failed.ipynb").read_text()
    assert not (folder / "report.html").exists()


def test_missing_input_is_named(tmp_path, images):
    with pytest.raises(UserError, match=r"run_config\.yaml"):
        render(tmp_path, [images])


@pytest.mark.parametrize(
    ("path", "shorter"),
    [
        ("M 1 1 L 3 1 L 3 4 z", "m1 1 2 0 0 3z"),
        ("M 1 1 M 5 5 L 6 5", "m1 1m4 4 1 0"),  # after a move without its letter a line is drawn
        ("M 1 1 L 1 1 M 5 5 L 5 5", "m1 1 0 0m4 4 0 0"),
        ("M 1 1 Q 2 2 3 1 Q 4 0 5 1", "m1 1q1 1 2 0 1-1 2 0"),
    ],
)
def test_a_shorter_path_draws_the_same(path: str, shorter: str):
    assert f'd="{shorter}"' in compact(f'<svg><g><path d="{path}"/></g></svg>')
