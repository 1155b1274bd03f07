"""The rendered page, read as a file and seen in Chromium with the network off."""

import csv
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from conftest import PAYLOAD, ROOT, render

VIEWS = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
}
PRINTED = {"width": 665, "height": 986}  # CSS pixels of A4 within margins of 18 and 17 mm
MOST_WORDS = 60  # of an alternative text, which is read out at one go
SIZE_BUDGET = 2_500_000  # bytes


@pytest.fixture(scope="module")
def soup(page: str) -> BeautifulSoup:
    return BeautifulSoup(page, "html.parser")


@pytest.fixture(params=VIEWS)
def view(request: pytest.FixtureRequest, browser: object, rendered: Path):
    """The page in one view, with what the browser logged and asked for."""
    context = browser.new_context(offline=True, bypass_csp=False, **VIEWS[request.param])
    tab = context.new_page()
    tab.logged, tab.asked = [], []
    tab.on("console", lambda message: tab.logged.append(message.text))
    tab.on("pageerror", lambda error: tab.logged.append(str(error)))
    tab.on("request", lambda asked: tab.asked.append(asked.url))
    tab.goto((rendered / "report.html").as_uri())
    tab.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    yield tab
    context.close()


def test_page_asks_for_nothing_logs_nothing_and_fits(view):
    assert view.logged == []
    assert [url for url in view.asked if not url.startswith(("file:", "data:"))] == []
    assert view.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    width = view.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0


def test_accessible(browser, rendered):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for name, options in VIEWS.items():
        # The page's own policy forbids foreign scripts, axe among them.
        context = browser.new_context(offline=True, bypass_csp=True, **options)
        tab = context.new_page()
        tab.goto((rendered / "report.html").as_uri())
        tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        tab.wait_for_timeout(200)
        found = axe.run(tab).response["violations"]
        assert [(name, v["id"], v["nodes"][0]["html"][:200]) for v in found] == []
        context.close()


def test_nothing_is_cut_in_print(browser, rendered):
    """What must stay together asks for it, and fits on a page of A4 within the page's margins.

    A figure may be divided between its pictures, and never before its caption.
    """
    context = browser.new_context(offline=True, viewport=PRINTED)
    tab = context.new_page()
    tab.emulate_media(media="print")
    tab.goto((rendered / "report.html").as_uri())
    tab.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    kept = tab.evaluate(
        """[...document.querySelectorAll(
            'figure img, figcaption, blockquote, .equation, tr')]
        .filter(e => e.checkVisibility())
        .map(e => [e.id, e.offsetHeight, e.scrollWidth, getComputedStyle(e).breakInside])"""
    )
    assert len(kept) > 100
    for name, height, width, rule in kept:
        assert rule == "avoid", name
        assert height <= PRINTED["height"], name
        assert width <= PRINTED["width"], name
    captions = "[...document.querySelectorAll('figcaption')]"
    rules = tab.evaluate(captions + ".map(e => getComputedStyle(e).breakBefore)")
    assert len(rules) > 10
    assert set(rules) == {"avoid"}
    widths = tab.evaluate(
        "[...document.querySelectorAll('table')].filter(e => e.checkVisibility()).map(e => [e.id, e.offsetWidth])"
    )
    assert [name for name, width in widths if width > PRINTED["width"]] == []
    pages = re.findall(rb"/Type\s*/Page\b", tab.pdf(prefer_css_page_size=True))
    assert len(pages) > 10
    context.close()


def test_payload_in_the_title_is_text(browser, rendered):
    context = browser.new_context(offline=True)
    tab = context.new_page()
    tab.goto((rendered / "report.html").as_uri())
    assert tab.title() == PAYLOAD
    assert tab.locator(".kicker").inner_text() == PAYLOAD
    assert tab.locator(".kicker *").count() == 0
    assert tab.locator("script:not([type])").count() == 1
    context.close()


def test_tables_sort_and_contents_follow(browser, rendered):
    context = browser.new_context(offline=True, **VIEWS["desktop"])
    tab = context.new_page()
    tab.goto((rendered / "report.html").as_uri())
    heading = tab.locator("#tab-steps thead th").nth(2)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    cells = tab.locator("#tab-steps tbody tr td:nth-child(3)").all_inner_texts()
    numbers = [int(cell.replace(",", "")) for cell in cells]
    assert numbers == sorted(numbers)
    tab.evaluate("document.getElementById('the-backward-pass').scrollIntoView({behavior: 'instant'})")
    # A locator, because the page's policy forbids the evaluation that polling a function takes.
    tab.locator("nav a[aria-current][href='#the-backward-pass']").wait_for()
    context.close()


def test_the_data_of_a_figure_open_as_a_table(browser, rendered):
    """All rows of the CSV behind the figure, numbers to five digits, to be sorted."""
    context = browser.new_context(offline=True, **VIEWS["desktop"])
    tab = context.new_page()
    tab.goto((rendered / "report.html").as_uri())
    box = tab.locator("details.data", has_text="scorecard.csv")
    assert box.locator("table").count() == 0
    box.locator("summary").click()
    box.locator("table").wait_for()
    with (rendered / "figures" / "scorecard.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert box.locator("thead th").all_inner_texts() == head
    shown = box.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => [cell.dataset.value, cell.textContent]))"
    )
    assert [[value for value, _ in row] for row in shown] == rows
    numbers = [pair for row in shown for pair in row if re.fullmatch(r"-?\d+\.\d+", pair[0])]
    assert len(numbers) > 20
    for value, text in numbers:
        assert float(text) == pytest.approx(float(value), rel=5e-5)
    context.close()


def test_every_picture_has_its_own_alternative_text(soup):
    figures = soup.select("main figure")
    assert len(figures) > 5
    # One text for all pictures of a figure.
    assert not any(image["alt"] for image in soup.select(".pictures img:not(:first-child)"))
    texts = [figure.img["alt"] for figure in figures]
    assert len(set(texts)) == len(texts)
    for figure, text in zip(figures, texts, strict=True):
        assert len(text) > 40
        assert len(text.split()) <= MOST_WORDS, text
        assert text not in figure.figcaption.get_text()


def test_internal_links_lead_somewhere(soup):
    anchors = {element["id"] for element in soup.select("[id]")}
    targets = [link["href"][1:] for link in soup.select('a[href^="#"]')]
    assert len(targets) > 40
    assert set(targets) <= anchors


def test_numbers_run_without_gaps_and_references_are_filled(soup):
    marks = [mark.get_text() for mark in soup.select(".number")]
    for kind in ("Figure", "Table"):
        numbers = [int(mark.split()[1].rstrip(".")) for mark in marks if mark.startswith(kind)]
        assert numbers == list(range(1, len(numbers) + 1))
    sections = [heading.get_text()[:2] for heading in soup.select("main h2")]
    assert sections == [*(f"{n}." for n in range(1, 9)), *(f"{letter}." for letter in "ABCDEFG")]
    references = {link["href"]: link.get_text() for link in soup.select("main p a[href^='#']")}
    assert references["#training-and-evaluation"].lower().split() == ["section", "5"]
    number = soup.select_one("#fig-computation .number").get_text().split()[1].rstrip(".")
    assert references["#fig-computation"].split() == ["Figure", number]


def test_claims_lead_to_the_section_of_their_study(soup):
    links = soup.select("#tab-scorecard tbody th a")
    assert len(links) > 15
    for link in links:
        name, target = link.get_text().split()[0].rstrip("†"), soup.find(id=link["href"][1:])
        assert target.name == "h3"
        told = target.find_next("strong", string=re.compile(rf"^{re.escape(name)}: "))
        assert told.find_previous("h3") is target


def test_claims_not_run_show_no_verdict(soup):
    missing = set(re.findall(r"[A-Z][\w.-]*", soup.select_one("#tab-not-run tbody").get_text()))
    shown = {th.get_text().split()[0] for th in soup.select("#tab-scorecard tbody th")}
    assert shown
    assert not shown & missing


def test_formulas_are_mathml_with_their_font(soup, page):
    assert len(soup.select("math annotation")) > 30
    assert "$$" not in soup.get_text()
    assert re.search(r"font/woff2;base64,[A-Za-z0-9+/=]{30000,}", page)
    footer = soup.footer.get_text()
    assert "SIL OPEN FONT LICENSE" in footer
    assert "STIX Fonts Project Authors" in footer


def test_policy_allows_no_foreign_source(soup):
    policy = soup.select_one('meta[http-equiv="Content-Security-Policy"]')["content"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/=]+'", rules["script-src"])
    assert "http" not in policy
    loaded = [image["src"] for image in soup.select("img")]
    assert all(url.startswith("data:image/svg+xml,<svg") for url in loaded)
    assert soup.select("iframe, object, embed, form, script[src]") == []


def test_size(page):
    assert len(page.encode()) < SIZE_BUDGET


def test_no_path_of_this_machine(rendered, page):
    notebook = (rendered / "report.ipynb").read_text()
    for text in (page, notebook):
        assert str(ROOT) not in text
    nbformat.validate(nbformat.reads(notebook, as_version=4))


def test_figures_are_kept_with_their_data(rendered, soup):
    labels = [figure["id"].removeprefix("fig-") for figure in soup.select("figure")]
    files = {path.name for path in (rendered / "figures").iterdir()}
    assert files == {f"{label}{suffix}" for label in labels for suffix in (".svg", ".png", ".csv")}


def test_two_builds_are_byte_equal(rendered, images):
    before = {name: (rendered / name).read_bytes() for name in ("report.html", "report.ipynb")}
    render(rendered, [images])
    for name, content in before.items():
        assert (rendered / name).read_bytes() == content
