"""Comparing runs with published ones: the choice of cells, the outcomes and their error rate."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from bnstudy.errors import UserError
from bnstudy.grid import runs
from bnstudy.report.exhibits import verification
from bnstudy.scoring import RESULTS
from bnstudy.settings import ALWAYS_NAMED
from bnstudy.tables import published
from bnstudy.tables.published import choose_cells, published_runs, read_summary
from bnstudy.tables.verification import as_text, compare, conclusion, half_width

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "published"
COLUMNS = ("run", *ALWAYS_NAMED, *published.COLUMNS)


def run(seed: int = 0, norm: str = "none", batch_size: int = 32, **changes: object) -> dict:
    """A published run whose metrics are seed / 100 and a bit."""
    cell = {"dataset": "digits", "norm": norm, "batch_size": batch_size, "seed": seed}
    numbers = dict.fromkeys(RESULTS, 0.5 + seed / 100)
    row = dict.fromkeys(COLUMNS, "x") | cell | numbers
    return row | {"run": f"{norm}-{batch_size}-{seed}", "status": "ok", "steps_to_target": 7} | changes


PEERS = [run(seed) for seed in range(10)]


def grid(norms: list[str], sizes: list[int], seeds: range) -> dict:
    return runs({"grid": {"norm": norms, "batch_size": sizes, "seed": seeds}})


def test_four_cells_have_both_norms_and_all_batch_sizes_and_different_seeds():
    published = grid(["batch", "none"], [32, 64, 128, 256], range(10))
    chosen = choose_cells(published, 4)
    assert {one.norm for one in chosen.values()} == {"batch", "none"}
    assert {one.batch_size for one in chosen.values()} == {32, 64, 128, 256}
    assert len({one.seed for one in chosen.values()}) == 4
    assert choose_cells(published, 4) == chosen
    assert list(choose_cells(published, 3)) == list(chosen)[:3]


def test_eight_cells_are_every_pair_of_norm_and_batch_size():
    chosen = choose_cells(grid(["batch", "none"], [32, 64, 128, 256], range(10)), 8)
    assert len({(one.norm, one.batch_size) for one in chosen.values()}) == 8


def test_more_cells_than_there_are_is_all_of_them_once():
    published = grid(["none"], [32], range(3))
    assert choose_cells(published, 9) == published


def test_equal_numbers_are_bitwise_whatever_machine_and_code():
    row = compare(run(3, code_sha256="y", device_name="other", torch="9"), run(3), PEERS)
    assert (row["outcome"], row["note"]) == ("bitwise", "other training code")
    assert (row["torch_here"], row["torch_published"]) == ("9", "x")


@pytest.mark.parametrize("key", ["metrics_sha256", "steps_to_target"])
def test_equal_ends_of_different_series_are_not_bitwise(key):
    assert compare(run(3, **{key: 8}), run(3), PEERS)["outcome"] == "within interval"


def test_the_last_digit_counts():
    nearly = np.nextafter(run(3)["test_loss"], 1)
    row = compare(run(3, test_loss=nearly), run(3), PEERS)
    assert (row["outcome"], row["farthest_metric"]) == ("within interval", "test_loss")
    assert 0 < row["farthest_share"] < 1e-12


def test_interval_by_hand():
    """Seeds 0 to 9 at steps of 0.01: s = 0.0302765; t(1 - 0.05/12, 9) = 3.3642 by a table."""
    width = half_width([peer["val_loss"] for peer in PEERS])
    assert width == pytest.approx(3.364 * 0.0302765 * 2**0.5, rel=1e-3)
    centre = run(9)["val_loss"]  # the ends belong to the seed's own value, not to the mean
    for sign in (-1, 1):
        inside, outside = (centre + sign * share * width for share in (0.999, 1.001))
        assert compare(run(9, val_loss=inside), run(9), PEERS)["outcome"] == "within interval"
        row = compare(run(9, val_loss=outside), run(9), PEERS)
        assert (row["outcome"], row["farthest_metric"]) == ("different", "val_loss")
        assert row["farthest_share"] == pytest.approx(1.001)


@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_faithful_runs_are_rarely_called_different(shared):
    """At worst a rerun is as far as another seed; `shared` is what both have in common."""
    random, n_tried, n_different = np.random.default_rng(1), 2000, 0
    for _ in range(n_tried):
        seeds = random.normal(size=(10, len(RESULTS)))
        again = shared * seeds[4] + (1 - shared**2) ** 0.5 * random.normal(size=len(RESULTS))
        widths = [half_width(values) for values in seeds.T]
        n_different += bool((abs(again - seeds[4]) > widths).any())
    assert n_different / n_tried < 0.05


def test_other_data_are_different_even_with_equal_numbers():
    row = compare(run(3, data_sha256="y"), run(3), PEERS)
    assert (row["outcome"], row["note"]) == ("different", "other data")


def test_divergence_has_to_reproduce():
    nothing = dict.fromkeys(RESULTS) | {"status": "diverged", "steps_to_target": None}
    gone = run(3, **nothing)
    assert compare(gone, run(3), PEERS)["note"] == "diverged here, ok there"
    assert compare(run(3), gone, PEERS)["outcome"] == "different"
    assert compare(gone, gone, PEERS)["outcome"] == "bitwise"
    assert compare(run(3, **nothing, metrics_sha256="y"), gone, PEERS)["outcome"] == ("within interval")


def test_one_published_seed_gives_no_interval():
    row = compare(run(3, test_loss=0.6), run(3), [run(3)])
    assert row["outcome"] == "different"
    assert "too few published seeds" in row["note"]


def test_seeds_that_agree_exactly_leave_no_room():
    peers = [run(seed, test_accuracy=0.9) for seed in range(5)]
    assert compare(run(3, test_accuracy=0.9), peers[3], peers)["outcome"] == "bitwise"
    assert compare(run(3, test_accuracy=0.91), peers[3], peers)["outcome"] == "different"


def test_what_is_printed():
    gone = run(4, **dict.fromkeys(RESULTS), status="diverged")
    rows = [compare(run(3), run(3), PEERS), compare(gone, run(4), PEERS)]
    text = as_text(rows)
    assert "digits   none  32          3     53.00%         53.00%     bitwise\n" in text
    assert "diverged       54.00%     different (diverged here, ok there)\n" in text
    assert text.endswith(conclusion(rows))
    assert conclusion(rows) == ("The published study does not reproduce here: of 2 runs 1 bitwise, 1 different.")
    assert conclusion(rows[:1]) == "The published study reproduces here: of 1 run 1 bitwise."


def test_the_report_shows_what_the_table_says(tmp_path):
    import pandas as pd

    gone = run(4, **dict.fromkeys(RESULTS), status="diverged")
    rows = [compare(run(3), run(3), PEERS), compare(gone, run(4), PEERS)]
    with open(tmp_path / "verification.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    frame = verification(pd.read_csv(tmp_path / "verification.csv")).frame
    assert frame["outcome"].tolist() == ["bitwise", "different (diverged here, ok there)"]
    assert frame["here (%)"].iloc[0] == pytest.approx(53)
    assert np.isnan(frame["here (%)"].iloc[1])


# The published summary that lies in the repository


def test_published_runs_are_those_of_the_default_study():
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert published_runs(PUBLISHED) == runs(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("run,norm\na,b\n", "damaged"),
        (",".join(COLUMNS) + "\n", "holds no run"),
        (",".join(COLUMNS) + "\na,digits,none,many\n", "damaged"),
    ],
)
def test_a_damaged_summary_is_refused_in_one_sentence(tmp_path, content, message):
    if content is not None:
        (tmp_path / "summary.csv").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        read_summary(tmp_path)
    assert "bnstudy publish" in str(error.value)


def test_the_summary_tells_no_path_and_no_host():
    for path in PUBLISHED.iterdir():
        text = path.read_text()
        assert str(Path.home()) + "/" not in text
        assert str(ROOT) not in text
        assert "host" not in text.splitlines()[0]
