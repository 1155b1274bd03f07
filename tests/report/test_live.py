"""The first screen, the explorer and the layer to play with, in Chromium with the network off."""

import io
import math
import re
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image, ImageChops
from scipy import stats
from synthetic import read_rows

DESKTOP = {"width": 1280, "height": 900}
NAMES = {  # of the measures, as the tables have them
    "validation accuracy, probed often": ("probe", "accuracy"),
    "validation loss, probed often": ("probe", "loss"),
    "validation accuracy": ("validation", "accuracy"),
    "validation loss": ("validation", "loss"),
    "training accuracy": ("train_subset", "accuracy"),
    "training loss": ("train_subset", "loss"),
    "training loss, as trained": ("train", "loss"),
}


@pytest.fixture
def tab(browser: object, rendered: Path):
    context = browser.new_context(offline=True, viewport=DESKTOP)
    page = context.new_page()
    page.failed = []
    page.on("pageerror", lambda error: page.failed.append(str(error)))
    page.goto((rendered / "report.html").as_uri())
    yield page
    assert page.failed == []
    context.close()


@pytest.fixture(scope="module")
def values(rendered: Path) -> dict:
    """By split, metric, norm, batch size and step: the value of each seed."""
    found = defaultdict(dict)
    for row in read_rows(rendered / "results" / "tables" / "metrics.csv"):
        key = (row["split"], row["metric"], row["norm"], row["batch_size"], int(row["step"]))
        found[key][row["seed"]] = float(row["value"])
    return found


def number(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace(",", ""))


def check_reading(tab: object, values: dict) -> None:
    """What the explorer says in words against means and t-intervals of the table."""
    said = tab.locator("#fig-curves .explorer > output").inner_text().replace("\xa0", " ")
    measure = tab.locator("#fig-curves select[name=measure] option:checked").inner_text()
    size = tab.evaluate(
        "[...document.querySelectorAll('#fig-curves .pills label')].find(label => label.firstChild.checked).textContent"
    )
    step = int(number(re.match(r"step ([\d,]+)", said)[1]))
    split, metric = NAMES[measure]
    scale, digits = (100, 2) if metric == "accuracy" else (1, 3)
    slack = 0.51 * 10**-digits + 1e-4
    for norm, name in (("none", "no normalization"), ("batch", "batch normalization")):
        seeds = [scale * v for v in values[split, metric, norm, size, step].values()]
        mean, half = re.search(rf"{name} ([\d.]+) (?:%|nats) ± ([\d.]+)", said).groups()
        assert float(mean) == pytest.approx(sum(seeds) / 8, abs=slack)
        assert len(seeds) == 8
        low, _ = stats.t.interval(0.95, 7, sum(seeds) / 8, stats.sem(seeds))
        assert float(half) == pytest.approx(sum(seeds) / 8 - low, abs=slack)
    pairs = [values[split, metric, norm, size, step] for norm in ("none", "batch")]
    better = sum((pairs[1][s] > pairs[0][s]) == (metric == "accuracy") and pairs[1][s] != pairs[0][s] for s in pairs[0])
    assert f"better in {better} of 8 seeds" in said


def test_the_explorer_reads_out_the_tables_by_keyboard_alone(tab, values):
    figure = tab.locator("#fig-curves")
    measure, slider = figure.locator("select[name=measure]"), figure.locator("input.cursor")
    places = set()
    for i, name in enumerate(NAMES):
        measure.focus()
        if i:
            tab.keyboard.press("ArrowDown")
        assert measure.locator("option:checked").inner_text() == name
        figure.locator(".pills input:checked").focus()
        tab.keyboard.press("ArrowRight")
        slider.focus()
        for key in ("Home", "ArrowRight", "PageUp", "ArrowLeft", "End"):
            tab.keyboard.press(key)
            check_reading(tab, values)
            places.add((name, slider.get_attribute("aria-valuetext")))
    assert len(places) > 3 * len(NAMES)


def test_the_axis_counts_epochs_images_and_seconds(tab, rendered):
    figure = tab.locator("#fig-curves")
    figure.locator("select[name=measure]").select_option(label="validation loss")
    figure.locator("input.cursor").focus()
    runs = read_rows(rendered / "results" / "tables" / "runs.csv")
    steps = next(int(run["n_steps"]) for run in runs if run["batch_size"] == "64")
    times = read_rows(rendered / "results" / "tables" / "timings.csv")
    longest = max(
        sorted(float(t["training_seconds"]) for t in times if (t["norm"], t["batch_size"]) == key)[4]
        for key in (("none", "64"), ("batch", "64"))
    )
    figure.get_by_label("64", exact=True).check()
    for name, pattern, expected in (
        ("steps", r"step ([\d,]+)", steps),
        ("epochs", r"epoch ([\d.]+)", 3),
        ("images seen", r"([\d,]+) images", 64 * steps),
        ("seconds of training", r"([\d.]+) seconds", longest),
    ):
        figure.locator("select[name=against]").select_option(label=name)
        figure.locator("input.cursor").focus()
        tab.keyboard.press("End")
        said = figure.locator("output").first.inner_text()
        assert number(re.search(pattern, said)[1]) == pytest.approx(expected, rel=0.03)


def test_the_address_keeps_what_was_chosen(tab):
    figure = tab.locator("#fig-curves")
    figure.locator("select[name=measure]").select_option(label="validation loss")
    figure.get_by_label("32", exact=True).check()
    figure.locator("select[name=seed]").select_option("3")
    figure.get_by_label("no normalization").uncheck()
    figure.locator("input.cursor").focus()
    tab.keyboard.press("Home")
    said = figure.locator("output").first.inner_text()
    assert "no normalization" not in said
    tab.goto("about:blank")
    tab.go_back()
    assert figure.locator("output").first.inner_text() == said
    assert figure.locator("select[name=seed]").input_value() == "3"


def test_pointer_and_touch_move_the_cursor(tab, values):
    chart = tab.locator("#fig-curves svg.chart")
    box = chart.bounding_box()
    said = set()
    for share in (0.1, 0.5, 0.7):
        tab.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        check_reading(tab, values)
        said.add(tab.locator("#fig-curves output").first.inner_text())
    assert len(said) > 1


def test_a_chosen_seed_lights_up_in_every_figure_that_draws_seeds(tab):
    pictures = "[...document.querySelectorAll('figure img')].map(i => i.getAttribute('src'))"
    before = tab.evaluate(pictures)
    drawn = [i for i, picture in enumerate(before) if "id='seed-3'" in picture]
    assert len(drawn) >= 3
    chosen = tab.locator("#fig-curves select[name=seed]")
    chosen.select_option("3")
    after = tab.evaluate(pictures)
    assert [i for i, picture in enumerate(after) if picture != before[i]] == drawn

    def shots() -> list[bytes]:
        shown = [tab.locator("figure img").nth(i) for i in drawn]
        for image in shown:
            image.evaluate("image => image.decode()")
        return [image.screenshot() for image in shown]

    # A picture that does not fit into the window makes the browser change the window.
    tab.set_viewport_size({"width": 1280, "height": 2000})
    lit = shots()
    chosen.select_option("")
    assert tab.evaluate(pictures) == before
    for one, other in zip(lit, shots(), strict=True):
        images = [Image.open(io.BytesIO(shot)).convert("L") for shot in (one, other)]
        darkest = ImageChops.difference(*images).getextrema()[1]
        assert darkest > 100  # of 255: the marks of the seed can be seen
    tab.set_viewport_size(DESKTOP)


def numbers(tab: object) -> torch.Tensor:
    """The rows of the playground's table: x, normalized, y, target, gradients, y in evaluation."""
    cells = tab.evaluate(
        "[...document.querySelectorAll('.playground tbody tr')]"
        ".map(row => [...row.querySelectorAll('td')].map(cell => cell.textContent))"
    )
    return torch.tensor([[number(cell) for cell in row] for row in cells], dtype=torch.float64)


def in_torch(tab: object, layer: torch.nn.BatchNorm1d, shown: torch.Tensor) -> torch.Tensor:
    """The same rows from autograd."""
    setting = {
        name: float(tab.locator(f".playground input[name={name}]").input_value())
        for name in ("gamma", "beta", "logEpsilon", "momentum")
    }
    layer.eps, layer.momentum = 10 ** setting["logEpsilon"], setting["momentum"]
    with torch.no_grad():
        layer.weight.fill_(setting["gamma"])
        layer.bias.fill_(setting["beta"])
    x, target = shown[:, :1].clone().requires_grad_(), shown[:, 3:4]
    evaluated = layer.eval()(x)
    kept = {name: value.clone() for name, value in layer.state_dict().items()}
    y = layer.train()(x)
    y.retain_grad()
    (0.5 * (y - target).square().sum()).backward()
    layer.load_state_dict(kept)
    normalized = (x - x.mean()) / (x.var(unbiased=False) + layer.eps).sqrt()
    return torch.hstack([x, normalized, y, target, y.grad, x.grad, evaluated]).detach()


def test_the_layer_to_play_with_computes_what_torch_does(tab):
    live = tab.locator(".playground")
    live.locator("summary").click()
    layer = torch.nn.BatchNorm1d(1).double()

    def check() -> None:
        shown = numbers(tab)
        expected = in_torch(tab, layer, shown)
        assert (shown - expected).abs().max() < 1e-4
        sums = live.locator(".sums").inner_text()
        running = re.search(r"running.*mean (\S+), variance (\S+)", sums).groups()
        assert number(running[0]) == pytest.approx(layer.running_mean.item(), abs=0.006)
        assert number(running[1]) == pytest.approx(layer.running_var.item(), abs=0.006)

    check()
    live.get_by_role("slider", name="sample 2").focus()
    for key in ("ArrowRight", "ArrowRight", "PageDown", "ArrowUp"):
        tab.keyboard.press(key)
        check()
    assert numbers(tab)[1, 0].item() == pytest.approx(4.5)
    for name, key, times in (("gamma", "ArrowLeft", 24), ("beta", "ArrowRight", 9),
                             ("logEpsilon", "ArrowRight", 5), ("momentum", "ArrowRight", 3)):  # fmt: skip
        live.locator(f"input[name={name}]").focus()
        for _ in range(times):
            tab.keyboard.press(key)
        check()
    for _ in range(3):
        x = numbers(tab)[:, :1]
        layer.train()(x)  # moves the running statistics
        live.get_by_role("button", name="train on it, next batch").click()
        check()
    live.get_by_role("button", name="one sample more").click()
    check()
    for _ in range(4):
        live.get_by_role("button", name="one fewer").click()
    assert len(numbers(tab)) == 1
    assert "refuses" in live.locator(".sums").inner_text()


def test_the_backward_pass_goes_step_by_step(tab):
    live = tab.locator(".playground")
    live.locator("summary").click()
    shown = numbers(tab)
    for step in range(1, 6):
        live.get_by_role("button", name="Next step of the backward pass").click()
        said = live.locator(".told").inner_text()
        assert f"Backward {step} of 5" in said
        if step == 2:
            beta, gamma = re.search(r"Σ g = (\S+) and .* = (\S+)\.", said).groups()
            assert number(beta) == pytest.approx(shown[:, 4].sum().item(), abs=0.006)
            assert number(gamma) == pytest.approx((shown[:, 4] * shown[:, 1]).sum().item(), abs=0.006)
    assert live.locator(".pull:not(.faint)").count() == 2 * len(shown)
    assert live.get_by_role("button", name="Next step of the backward pass").is_disabled()


def test_samples_are_dragged(tab):
    live = tab.locator(".playground")
    live.locator("summary").click()
    live.scroll_into_view_if_needed()
    before = numbers(tab)
    grip = live.get_by_role("slider", name="sample 1")
    box = grip.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 250, box["y"] + 40, steps=5)
    tab.mouse.up()
    after = numbers(tab)
    assert after[0, 0] > before[0, 0] + 2
    assert torch.equal(after[1:, 0], before[1:, 0])


def test_pictures_stand_for_live_figures_on_paper_and_without_script(browser, rendered):
    for options, media in (({"java_script_enabled": False}, "screen"), ({}, "print")):
        context = browser.new_context(offline=True, viewport=DESKTOP, **options)
        tab = context.new_page()
        tab.emulate_media(media=media)
        tab.goto((rendered / "report.html").as_uri())
        for figure in ("#fig-curves", "#fig-four-samples"):
            assert tab.locator(f"{figure} .pictures img").first.is_visible()
            assert tab.locator(f"{figure} .live").count() == (media == "print")
            if media == "print":
                assert not tab.locator(f"{figure} .live").is_visible()
        context.close()


def test_the_first_screen_says_what_came_out_in_few_words(page, rendered):
    soup = BeautifulSoup(page, "html.parser")
    rows = read_rows(rendered / "results" / "tables" / "comparison.csv")
    overall = {row["metric"]: row for row in rows if row["scope"] == "all"}
    accuracy, steps = overall["test_accuracy"], overall["ln_steps_to_target"]
    tiles = {div.dt.get_text(): div.dd.get_text() for div in soup.select(".tiles div")}
    assert len(tiles) == 3  # this study has neither the input's scaling nor long training
    points = next(text for label, text in tiles.items() if "test accuracy" in label)
    assert points.startswith(f"{100 * float(accuracy['difference']):+.2f}")
    ratio = next(text for label, text in tiles.items() if "steps" in label)
    assert f"{math.exp(float(steps['difference'])):.2f}" in ratio
    shown = [row for row in (accuracy, steps) if float(row["p_holm"]) < 0.05]
    assert soup.h1.get_text().startswith("Batch" if shown else "No difference between batch")
    before = page[page.index('<header class="opening">') : page.index('<div class="pictures">')]
    words = BeautifulSoup(before, "html.parser").get_text(" ").split()
    assert 40 < len(words) < 120
    assert not re.search(r"\bp\b", " ".join(words))
    marks = soup.select(".verdicts li a")
    judged = read_rows(rendered / "results" / "tables" / "claims.csv")
    assert len(marks) == sum(row["verdict"] not in ("not run", "") for row in judged)
