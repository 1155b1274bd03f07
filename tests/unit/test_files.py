"""Files take their place whole, and nobody can have a hand in it."""

import errno
import os
import stat
from pathlib import Path

import pytest

from bnstudy.errors import refusal
from bnstudy.files import TEMPORARY, replacing
from bnstudy.training.checkpoints import only_writer


def test_a_file_appears_whole_and_with_the_usual_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            with replacing(path) as file:
                file.write("half")
                file.flush()
                assert not path.exists() or path.read_text() == "whole"
                file.seek(0)
                file.write("whole")
            assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        finally:
            os.umask(before)
        assert path.read_text() == "whole"
        assert list(tmp_path.iterdir()) == [path]


def test_its_temporary_name_cannot_be_guessed(tmp_path: Path) -> None:
    names = set()
    for _ in range(20):
        with replacing(tmp_path / "a.csv"):
            names |= {path.name for path in tmp_path.glob(TEMPORARY)}
    assert len(names) == 20
    assert not any(str(os.getpid()) == name.rpartition(".")[2] for name in names)


@pytest.mark.fault("a link or file planted where one is written")
@pytest.mark.parametrize("kind", ["link", "broken link", "file"])
def test_what_is_planted_there_is_neither_followed_nor_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda n: "0" * 2 * n)  # as if it were guessed
    victim, planted = tmp_path / "victim", tmp_path / ".a.csv.0000000000000000"
    victim.write_text("precious")
    if kind == "file":
        planted.write_text("planted")
    else:
        planted.symlink_to(victim if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(FileExistsError), replacing(tmp_path / "a.csv") as file:
        file.write("mine")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.fault("a disk that is full, or a quota used up, at the rename")
@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk quota is used up")]
)
def test_no_room_only_when_the_file_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    (tmp_path / "a.csv").write_text("whole")

    def full(path: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(path), None, str(target))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match=os.strerror(number)) as caught, replacing(tmp_path / "a.csv") as file:
        file.write("new")
    said = f"cannot write {tmp_path / 'a.csv'}: {reason}; make room and run"
    assert refusal(caught.value).startswith(said)
    assert (tmp_path / "a.csv").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with replacing(tmp_path / "metrics.csv"):
        (tmp_path / ".run.json.0123456789abcdef").touch()
    for name in (".checkpoint.pt", ".hidden.1", "run.json", "metrics.csv"):
        (tmp_path / name).touch()
    with only_writer(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {".checkpoint.pt", ".hidden.1", "run.json", "metrics.csv"}
