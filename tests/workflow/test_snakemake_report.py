"""Snakemake's own report of a finished study, opened without a network."""

import zipfile
from urllib.parse import unquote


def test_figures_and_tables_are_in_the_report_of_snakemake(finished, tmp_path, browser):
    archive = tmp_path / "made by snakemake.zip"
    done = finished.snakemake("--report", str(archive))
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(archive) as files:
        files.extractall(tmp_path)
        names = {name.rpartition("/")[2] for name in files.namelist()}
    figures = {path.name for path in (finished.study / "results/figures").glob("*.svg")}
    assert names >= figures | {"runs.csv", "timings.csv", "comparison.csv", "claims.csv"}
    (page,) = tmp_path.glob("*/report.html")

    context = browser.new_context(offline=True)
    tab = context.new_page()
    asked, errors = [], []
    tab.on("request", lambda request: asked.append(unquote(request.url)))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.as_uri())
    for category in ("Report", "Figures", "Tables"):
        tab.get_by_text(category, exact=True).last.wait_for()
    tab.get_by_text("Figures", exact=True).last.click()
    for figure in ("curves", "paired", "scorecard"):
        tab.get_by_text(figure, exact=True).first.wait_for()
    assert "with and without it, trained over a grid" in tab.locator("body").inner_text()
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()
