"""What a finished study is compared with and handed on as: `verify`, `archive`, and no secrets."""

import csv
import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
import requests
import requests_cache
import rocrate
import yaml
from rocrate_validator import services
from test_run import read

from bnstudy import cli
from bnstudy.report import design
from bnstudy.tables.archive import source_files

ROOT = Path(__file__).parents[2]
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
VERIFICATION = "results/tables/verification.csv"


def publish(study) -> None:
    """Make the study's own runs the published ones."""
    done = study.bnstudy("publish", "results/run_config.yaml", "--out", study.root / "published")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def released(quick_study, tmp_path_factory):
    """The quick study, published, verified and archived."""
    root = tmp_path_factory.mktemp("released") / "my checkout"
    shutil.copytree(quick_study.root, root, symlinks=True)
    study = type(quick_study)(root, root / ".quick")
    study.configure((root / "config/quick.yaml").read_text())
    study.configure("verify: {cells: 2}")
    publish(study)
    study.printed = study.run("verify")
    study.run("archive")
    return study


@pytest.fixture
def copied(released, tmp_path):
    """A copy of the released study that a test may change, elsewhere."""
    root = tmp_path / "elsewhere"
    shutil.copytree(released.root, root, symlinks=True)
    return type(released)(root, root / ".quick")


def said(done: subprocess.CompletedProcess) -> str:
    """What was printed, in one line: the logger breaks lines to the width of the terminal."""
    return " ".join((done.stdout + done.stderr).split())


def archive_of(study) -> Path:
    (path,) = (study.study / "results/archive").iterdir()
    return path


def test_a_study_reproduces_itself_bitwise(released):
    rows = read(released.study / VERIFICATION)
    assert [row["outcome"] for row in rows] == ["bitwise", "bitwise"]
    assert len({row["norm"] for row in rows}) == len({row["batch_size"] for row in rows}) == 2
    assert re.search(r"batch size +seed +test accuracy +published +outcome", released.printed)
    assert "The published study reproduces here: of 2 runs 2 bitwise." in released.printed
    runs = released.study / "results/verify/runs"
    for row in rows:
        again, before = runs / row["run"], released.study / "results/runs" / row["run"]
        assert (again / "metrics.csv").read_bytes() == (before / "metrics.csv").read_bytes()


def test_verify_trains_the_published_settings_and_leaves_the_runs_alone(copied):
    """It is asked in a study of other settings on another grid."""
    shutil.rmtree(copied.study / "results/verify")
    shutil.rmtree(copied.study / "results/runs")
    copied.configure("grid: {norm: [none, layer], seed: [5]}\nmodel: {hidden: [5]}\ntraining: {epochs: 1}")
    plan = copied.plan("verify")
    assert plan.counts == {"retrain": 2, "verify": 1}
    assert {(run["norm"], run["seed"]) for run in plan.runs} == {("batch", "0"), ("none", "1")}
    copied.run("verify")
    assert {row["outcome"] for row in read(copied.study / VERIFICATION)} == {"bitwise"}
    assert not (copied.study / "results/runs").exists()


def test_a_run_that_differs_fails_and_is_named(copied):
    summary = copied.root / "published/summary.csv"
    rows = read(summary)
    for row in rows:  # all seeds of one cell, whose spread says how far a run may be
        if (row["norm"], row["batch_size"]) == ("batch", "32"):
            row |= {"val_loss": str(float(row["val_loss"]) + 1e3), "torch": "0.4.1"}
    with open(summary, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert copied.plan("verify").counts == {"verify": 1}  # trained already
    done = copied.snakemake("--cores", "1", "verify")
    assert done.returncode == 1
    text = said(done)
    assert "does not reproduce here: of 2 runs 1 bitwise, 1 different." in text
    assert "1 of 2 runs differ from the published ones, the first is" in text
    assert "PyTorch 0.4.1" in text
    assert "Traceback" not in text
    (row,) = [r for r in read(copied.study / VERIFICATION) if r["outcome"] == "different"]
    assert (row["norm"], row["batch_size"], row["farthest_metric"]) == ("batch", "32", "val_loss")
    assert float(row["farthest_share"]) > 1


def test_a_missing_summary_is_said_in_one_sentence(checkout):
    shutil.rmtree(checkout.root / "published")
    done = checkout.snakemake("--cores", "1", "verify")
    assert done.returncode == 1
    assert "summary.csv cannot be read" in said(done)
    assert "Traceback" not in said(done)
    assert not (checkout.root / "results/verify").exists()
    assert checkout.snakemake("-n").returncode == 0  # nothing else needs it


def test_the_report_shows_a_verification_but_never_asks_for_one(released, copied, finished):
    page = (released.study / "report/report.html").read_text()
    assert page.count("bitwise") > 2
    assert "snakemake --cores all verify" in (finished.study / "report/report.html").read_text()
    assert "Nothing to be done" in copied.plan("all").text
    copied.edit("workflow/bnstudy/training/loop.py")
    assert "retrain" not in copied.plan("all").counts
    assert copied.plan("verify").counts["retrain"] == 2


# The archive


def test_an_archive_is_byte_identical_when_made_again_elsewhere(released, copied):
    first = archive_of(copied).read_bytes()
    archive_of(copied).unlink()
    umask = os.umask(0o077)
    try:
        for path in copied.root.rglob("*"):
            if path.is_file() and ".snakemake" not in path.parts:
                path.chmod(0o700)
        copied.run("archive", cores=1, TZ="Asia/Tokyo")
    finally:
        os.umask(umask)
    assert archive_of(copied).read_bytes() == first == archive_of(released).read_bytes()


def test_dates_in_an_archive_are_the_given_one(copied):
    archive_of(copied).unlink()
    copied.run("archive", cores=1, SOURCE_DATE_EPOCH="1700000000")
    with zipfile.ZipFile(archive_of(copied)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
        metadata = json.loads(archive.read("ro-crate-metadata.json"))
    (root,) = [entity for entity in metadata["@graph"] if entity["@id"] == "./"]
    assert root["datePublished"] == "2023-11-14T22:13:20+00:00"


def test_an_archive_has_results_and_sources_and_runs_again(released, tmp_path):
    with zipfile.ZipFile(archive_of(released)) as archive:
        archive.extractall(tmp_path)
    for name in (
        *("results/tables/runs.csv", "results/tables/claims.csv", VERIFICATION),
        *("report/report.html", "report/quick_study.ipynb", "results/run_config.yaml"),
        *("LICENSE", "CITATION.cff", "requirements.txt", "environment.yml", "config/claims.yaml"),
    ):
        assert (tmp_path / name).stat().st_size > 0, name
    assert list((tmp_path / "results/figures").glob("*.svg"))
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
    study = type(released)(tmp_path, tmp_path / ".quick")
    assert study.plan().counts["train"] == 12


def test_what_the_documents_link_to_and_show_is_in_the_archive():
    packed = set(source_files(ROOT))
    for name in sorted(name for name in packed if name.endswith(".md")):
        for target in re.findall(r"\]\(([^)#:\s]+)[^)]*\)", (ROOT / name).read_text()):
            if target == "https":
                continue
            linked = (ROOT / name).parent.joinpath(target).resolve().relative_to(ROOT).as_posix()
            inside = linked in packed or any(path.startswith(f"{linked}/") for path in packed)
            assert inside, f"{name} links to {target}"


def test_an_archive_names_every_author(copied):
    path = copied.root / "CITATION.cff"
    citation = yaml.safe_load(path.read_text())
    person = {"given-names": "Ada", "name-particle": "de", "family-names": "Example"}
    orcid = "https://orcid.org/0000-0000-0000-0000"
    citation["authors"] = [person | {"orcid": orcid}, {"name": "A laboratory"}]
    path.write_text(yaml.safe_dump(citation))
    archive_of(copied).unlink()
    copied.run("archive", cores=1)
    with zipfile.ZipFile(archive_of(copied)) as archive:
        metadata = json.loads(archive.read("ro-crate-metadata.json"))
    entities = {entity["@id"]: entity for entity in metadata["@graph"]}
    authors = [entities[author["@id"]] for author in entities["./"]["author"]]
    assert [(author["@type"], author["name"]) for author in authors] == [
        ("Person", "Ada de Example"),
        ("Organization", "A laboratory"),
    ]


def test_an_archive_is_a_workflow_run_crate(released, tmp_path):
    """By roc-validator, without a network: rocrate ships the context that it asks for."""
    validator_cache = tmp_path / "http"
    with requests_cache.CachedSession(str(validator_cache), backend="sqlite") as session:
        request = requests.Request("GET", CONTEXT).prepare()
        answer = requests_cache.CachedResponse(
            status_code=200,
            url=CONTEXT,
            headers={"Content-Type": "application/ld+json"},
            request=requests_cache.CachedRequest.from_request(request),
        )
        answer._content = (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes()
        assert json.loads(answer._content)["@id"] == CONTEXT
        session.cache.save_response(answer)

    def problems(path: Path) -> list[str]:
        settings = services.ValidationSettings(
            rocrate_uri=str(path),
            profile_identifier="workflow-run-crate",
            requirement_severity="REQUIRED",
            offline=True,
            cache_path=validator_cache,
        )
        result = services.validate(settings)
        assert len(result.executed_checks) > 50
        assert not result.skipped_checks
        return [issue.message for issue in result.get_issues()]

    # The validator does not find its way in a folder with a space in its name.
    assert problems(shutil.copy(archive_of(released), tmp_path / "crate.zip")) == []

    # The validator tells a crate from none: the same without its run is refused.
    broken = tmp_path / "broken"
    with zipfile.ZipFile(archive_of(released)) as archive:
        archive.extractall(broken)
    file = broken / "ro-crate-metadata.json"
    metadata = json.loads(file.read_text())
    metadata["@graph"] = [e for e in metadata["@graph"] if e["@id"] != "#run"]
    file.write_text(json.dumps(metadata))
    assert any("CreateAction" in problem for problem in problems(broken))


def test_nothing_that_is_published_tells_where_it_was_made(released):
    """Paths anywhere; names of host and user as words, for they may be short."""
    secrets = [str(released.root), f"{Path.home()}/", str(ROOT), "/tmp/"]
    names = {socket.gethostname(), socket.getfqdn()} - {"localhost"}
    host = re.compile(rb"\b(" + b"|".join(re.escape(n.encode()) for n in names) + rb")\b")
    assert host.search((released.study / "results/tables/timings.csv").read_bytes())
    sources = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()}
    with zipfile.ZipFile(archive_of(released)) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if name not in sources:
                assert not [secret for secret in secrets if secret.encode() in content], name
                # In the bytes of a picture, or those written in letters, a short name stands by chance.
                words = b"" if name.endswith(".png") else re.sub(rb"[A-Za-z0-9+/=]{100,}", b"", content)
                assert not host.search(words), name
            if (user := getpass.getuser()) != "root":  # which is also a word of mathematics
                assert user.encode() not in content, name
        timings = archive.read("results/tables/timings.csv").decode().splitlines()
    column = timings[0].split(",").index("host")
    assert {line.split(",")[column] for line in timings[1:]} == {"machine 1"}


def test_a_path_in_a_result_stops_the_archive(copied):
    page = copied.study / "report/report.html"
    with open(page, "a") as file:
        file.write(f"<!-- {copied.study}/data -->\n")
    archive_of(copied).unlink()
    given = ["report/report.html", "--root", copied.root, "--out", "results/archive/it.zip"]
    done = copied.bnstudy("archive", *given)
    assert done.returncode == 2
    assert "report/report.html contains the path" in said(done)
    assert not list(copied.study.glob("results/archive/*"))
    # The workflow makes a page that was edited by hand anew.
    copied.run("archive")
    assert str(copied.study) not in page.read_text()


# Citation


def test_citation_is_valid_and_of_this_version(monkeypatch, capsys):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    schema = json.loads((ROOT / "tests/data/cff-1.2.0.schema.json").read_text())
    validator = jsonschema.Draft7Validator(schema)
    assert [error.message for error in validator.iter_errors(citation)] == []
    assert list(validator.iter_errors(citation | {"version": [1]}))
    assert list(validator.iter_errors({k: v for k, v in citation.items() if k != "authors"}))
    version, title = citation["version"], citation["title"]
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    assert f"## {version} - {citation['date-released']}\n" in (ROOT / "CHANGELOG.md").read_text()
    assert f"bnstudy:{version}" in (ROOT / "profiles/kubernetes/config.yaml").read_text()
    # What is shown is of this checkout, whenever it was installed.
    monkeypatch.setattr("sys.argv", ["bnstudy", "--version"])
    cli.main()
    assert capsys.readouterr().out == f"bnstudy {version}\n"
    results = SimpleNamespace(runs={"git_commit": ["0" * 40]})
    assert f"`bnstudy` version {version} and" in design.citation(results)
    monkeypatch.setenv("PATH", "")  # no git, as in the container
    assert design.byline(results) == citation["authors"][0]["name"]
    assert (ROOT / "README.md").read_text().startswith(f"# {title}\n")
    assert f'description = "{title}"' in (ROOT / "pyproject.toml").read_text()
    assert yaml.safe_load((ROOT / "config/config.yaml").read_text())["report"]["title"] == title


# Text of the configuration never becomes a command

HOSTILE = 'a\'; touch pwned; "$(touch pwned)" `touch pwned` & touch pwned | touch pwned\n{x} > pwned'


def assert_nothing_ran(study) -> None:
    assert not list(study.root.parent.rglob("pwned"))


def test_hostile_text_is_recorded_as_it_is(checkout):
    checkout.configure(yaml.safe_dump({"report": {"title": HOSTILE}}))
    checkout.run("results/run_config.yaml", cores=1)
    recorded = yaml.safe_load((checkout.root / "results/run_config.yaml").read_text())
    assert recorded["report"]["title"] == HOSTILE
    assert_nothing_ran(checkout)


def test_a_hostile_source_is_only_a_folder_that_is_not_there(checkout):
    nowhere = "http://127.0.0.1:9"  # whatever else is tried answers at once
    checkout.configure(yaml.safe_dump({"data": {"source": HOSTILE}}))
    done = checkout.snakemake(
        *("--cores", "1", "--workflow-profile", "none", "results/data/kmnist/raw"),
        HTTPS_PROXY=nowhere,
        BNSTUDY_DATA_SOURCE=HOSTILE,
    )
    assert done.returncode == 1
    log = checkout.root / "results/logs/download/dataset~kmnist.log"
    assert f"trying {HOSTILE}\n  no such folder" in log.read_text()
    assert_nothing_ran(checkout)


VALUE = "$(touch pwned)`touch pwned`;touch pwned;'\""


def test_a_hostile_value_in_the_grid_of_a_study_is_refused(checkout):
    grid = {"norm": [VALUE]}
    checkout.configure(yaml.safe_dump({"studies": {"depth": {"enabled": True, "grid": grid}}}))
    done = checkout.snakemake("-n")
    assert done.returncode == 1
    assert "studies.depth.grid.norm: " in done.stderr
    assert_nothing_ran(checkout)


def test_a_hostile_value_in_the_definition_of_a_study_is_only_a_name(checkout):
    studies = yaml.safe_load((checkout.root / "config/studies.yaml").read_text())
    studies["studies"]["depth"] |= {"enabled": True, "seeds": 1}
    grid = {"norm": [VALUE], "activation": ["relu"], "initialization": ["he"]}
    studies["studies"]["depth"]["grid"] = grid
    (checkout.root / "config/studies.yaml").write_text(yaml.safe_dump(studies))
    checkout.configure((checkout.root / "config/quick.yaml").read_text())
    done = checkout.snakemake("--cores", "1", "results/tables/depth.csv")
    assert done.returncode == 1
    assert json.dumps(VALUE)[1:-1] in done.stdout + done.stderr  # refused, as the text it is
    assert_nothing_ran(checkout)


@pytest.mark.parametrize("name", ["$(touch pwned)", "a;touch pwned"])
def test_a_hostile_file_name_is_refused(checkout, name):
    checkout.configure(yaml.safe_dump({"report": {"name": name}}))
    done = checkout.snakemake("-n")
    assert done.returncode == 1
    assert "\nreport.name: " in done.stderr
    assert_nothing_ran(checkout)
