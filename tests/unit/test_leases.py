"""Leases of GPUs: which cards count, and what many real processes make of a few of them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from bnstudy.errors import UserError
from bnstudy.training import leases
from bnstudy.training.devices import select_device
from bnstudy.training.leases import Card, given_by_scheduler, lease_card, make_private, visible_cards

A, B, C = "GPU-aaaa1111", "GPU-aaaa2222", "GPU-cccc3333"
CARDS = [Card(A, A, 0, "a card"), Card(B, B, 1, "a card"), Card(C, C, 2, "another card")]
PARTS = [Card(f"MIG-{n}", B, 1, "a part") for n in ("7", "8")]


def uuids(cards: list[Card], visible: str | None) -> list[str]:
    return [card.uuid for card in visible_cards(cards, visible)]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [A, B, C]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("2,0", [C, A]),
        ("0,-1,2", [A]),  # what follows a wrong name is hidden
        ("0,9,2", [A]),
        (f"{C}, {A}", [C, A]),
        ("GPU-cc", [C]),
        ("GPU-aaaa", []),  # fits two cards
        ("0,0", [A]),
    ],
)
def test_cards_that_are_visible(visible, expected):
    assert uuids(CARDS, visible) == expected


def test_a_divided_card_is_its_instances():
    cards = [CARDS[0], *PARTS]
    assert uuids(cards, None) == [A, "MIG-7", "MIG-8"]
    assert uuids(cards, "1") == uuids(cards, B) == ["MIG-7", "MIG-8"]
    assert uuids(cards, "MIG-8,0") == ["MIG-8", A]


@pytest.mark.parametrize(
    ("environ", "given"),
    [
        ({}, False),
        ({"CUDA_VISIBLE_DEVICES": "0"}, False),
        ({"SLURM_JOB_ID": "7"}, False),
        ({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0"}, True),
        ({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1"}, False),  # a whole node's
        ({"PBS_JOBID": "7", "CUDA_VISIBLE_DEVICES": A}, True),
    ],
)
def test_a_scheduler_that_gave_one_card_is_believed(tmp_path, environ, given):
    assert given_by_scheduler(environ) is given
    before = dict(environ)
    card = lease_card(environ=environ, cards=lambda: CARDS, folder=tmp_path / "leases")
    leases.release()
    assert (card is None) is given
    assert (environ == before) is given


def test_the_least_busy_card_is_taken_until_there_is_none(tmp_path, capsys):
    taken = []
    for _ in range(4):
        environ = {"CUDA_VISIBLE_DEVICES": "0,1"}
        taken.append(lease_card(2, environ=environ, cards=lambda: CARDS, folder=tmp_path).uuid)
        assert environ["CUDA_VISIBLE_DEVICES"] == taken[-1]
    assert leases.take_slot(CARDS[:2], 2, tmp_path) is None
    leases.release()
    assert sorted(taken[:2]) == sorted(taken[2:]) == [A, B]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert said[0] == f"GPU lease: a card, {A}, place 1 of 2"


def test_nothing_is_leased_where_nothing_is(tmp_path):
    folder = tmp_path / "leases"
    assert lease_card(environ={}, cards=list, folder=folder) is None
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    assert lease_card(environ=hidden, cards=lambda: CARDS, folder=folder) is None
    assert not folder.exists()


def test_no_place_at_all_is_refused_instead_of_waited_for(tmp_path):
    with pytest.raises(UserError, match="--jobs-per-gpu 0"):
        lease_card(0, environ={}, cards=lambda: CARDS, folder=tmp_path)


@pytest.mark.fault("a lease folder of somebody else")
def test_a_folder_of_somebody_else_is_left_to_them(tmp_path):
    """A planted link, a file, another user's folder: nobody is kept from the cards, or led elsewhere."""
    (tmp_path / "leases").symlink_to(tmp_path)
    (tmp_path / "leases-1").touch()
    (tmp_path / "leases-2").mkdir()
    if os.geteuid() == 0:
        os.chown(tmp_path / "leases-2", 12345, 12345)
    found = make_private(tmp_path / "leases")
    assert found == tmp_path / ("leases-3" if os.geteuid() == 0 else "leases-2")
    assert make_private(tmp_path / "leases") == found
    for n in range(10):
        if not (tmp_path / f"leases-{n}").exists():
            (tmp_path / f"leases-{n}").symlink_to(tmp_path)
    found.rmdir()
    found.touch()
    with pytest.raises(UserError, match="somebody else"):
        make_private(tmp_path / "leases")


def test_the_driver_is_asked_without_an_error_where_there_is_none():
    # On a machine with cards, their UUIDs; on one without a driver, nothing.
    assert all(card.uuid.startswith(("GPU-", "MIG-")) for card in leases.list_cards())


@pytest.mark.skipif(bool(leases.list_cards()), reason="this machine has an NVIDIA GPU")
def test_auto_says_that_it_fell_back(capsys, monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert select_device("auto").type == "cpu"
    assert "device 'auto' is the CPU here" in capsys.readouterr().err


# A job: leases a card, notes in a log that all share that it has it, holds it, notes its end. The
# note is one write to a file opened for appending, which the kernel keeps whole and in order.
JOB = """
import os, sys, time
from pathlib import Path
from bnstudy.training import leases
from bnstudy.training.leases import Card

folder, log, name, slots, n_cards, hold = sys.argv[1:]
cards = [Card(f"GPU-{i}", f"GPU-{i}", i, "a card") for i in range(int(n_cards))]
notes = os.open(log, os.O_WRONLY | os.O_APPEND)
join = leases.join_queue

def join_queue(queue):
    ticket = join(queue)
    os.write(notes, f"queued {name} {Path(ticket.lock_file).name}\\n".encode())
    return ticket

leases.join_queue = join_queue
environ = {}
leases.lease_card(int(slots), environ=environ, cards=lambda: cards, folder=Path(folder))
os.write(notes, f"begin {name} {environ['CUDA_VISIBLE_DEVICES']}\\n".encode())
if hold == "forever":
    time.sleep(3600)
time.sleep(float(hold))
os.write(notes, f"end {name}\\n".encode())
"""


class Jobs:
    """Jobs that share cards, and the log of what each of them did."""

    def __init__(self, folder: Path, slots: int, n_cards: int):
        self.folder, self.slots, self.n_cards = folder, slots, n_cards
        self.log = folder / "log"
        self.log.touch()
        self.processes: dict[str, subprocess.Popen] = {}

    def start(self, name: str, hold: float | str) -> subprocess.Popen:
        numbers = [str(self.slots), str(self.n_cards), str(hold)]
        process = subprocess.Popen(
            [sys.executable, "-c", JOB, self.folder / "leases", self.log, name, *numbers], stderr=subprocess.DEVNULL
        )
        self.processes[name] = process
        return process

    def kill(self, name: str) -> None:
        """SIGKILL, noted before it is sent: until then a card that the job has is taken."""
        with open(self.log, "a") as log:
            log.write(f"killed {name}\n")
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def events(self) -> list[list[str]]:
        return [line.split() for line in self.log.read_text().splitlines()]

    def wait_for(self, *event: str) -> None:
        while not any(found[: len(event)] == list(event) for found in self.events()):
            time.sleep(0.01)

    def busiest(self) -> int:
        """The most jobs that any card had at a time, from a job's first note to its last."""
        card_of: dict[str, str] = {}
        gone: set[str] = set()
        most = 0
        for kind, name, *card in self.events():
            if kind == "begin" and name not in gone:
                card_of[name] = card[0]
                most = max(most, list(card_of.values()).count(card[0]))
            elif kind in ("end", "killed"):
                gone.add(name)
                card_of.pop(name, None)
        return most


@pytest.fixture
def jobs(tmp_path):
    """A factory of jobs that do not outlive the test."""
    made = []

    def make(slots: int, n_cards: int) -> Jobs:
        made.append(Jobs(tmp_path, slots, n_cards))
        return made[-1]

    yield make
    for process in (p for some in made for p in some.processes.values()):
        process.kill()
        process.wait()


@pytest.mark.parametrize(("n_cards", "slots"), [(1, 1), (3, 2)])
def test_many_processes_share_few_cards(jobs, n_cards, slots):
    some = jobs(slots, n_cards)
    holders = [f"holder-{i}" for i in range(n_cards * slots)]
    for name in holders:
        some.start(name, "forever")
    for name in holders:
        some.wait_for("begin", name)
    # They stay, so that how fast processes start does not decide which cards are used.
    used = Counter(event[2] for event in some.events() if event[0] == "begin")
    assert used == {f"GPU-{i}": slots for i in range(n_cards)}
    short = [str(i) for i in range(24)]
    for name in short:
        some.start(name, 0.05)
    for name in short[:12]:
        some.wait_for("queued", name)
    for name in holders:
        some.kill(name)
    assert [some.processes[name].wait() for name in short] == [0] * 24  # each had its turn
    assert some.busiest() <= slots


def test_those_who_wait_are_served_in_the_order_they_came(jobs):
    some = jobs(1, 1)
    some.start("holder", "forever")
    some.wait_for("begin", "holder")
    for i in range(8):
        some.start(str(i), 0)
    for i in range(8):
        some.wait_for("queued", str(i))
    some.kill("holder")
    for i in range(8):
        assert some.processes[str(i)].wait() == 0
    waiting = [event for event in some.events() if event[0] == "queued" and event[1] != "holder"]
    served = [event[1] for event in some.events() if event[0] == "begin" and event[1] != "holder"]
    assert served == [name for _, name, ticket in sorted(waiting, key=lambda event: event[2])]


def test_what_is_killed_at_any_moment_leaves_nothing_behind(jobs):
    some, rng = jobs(2, 2), random.Random(0)
    for i in range(40):
        # Half of them are killed: while they start, queue, or hold a card.
        some.start(str(i), "forever" if i % 2 else 0.02)
    for i in rng.sample(range(1, 40, 2), 20):
        time.sleep(rng.uniform(0, 0.4))
        some.kill(str(i))
    for i in range(0, 40, 2):
        assert some.processes[str(i)].wait() == 0
    assert some.busiest() <= 2
    # All places can be had at once again.
    for i in range(4):
        some.start(f"last-{i}", "forever")
    for i in range(4):
        some.wait_for("begin", f"last-{i}")
    cards = [event[2] for event in some.events() if event[0] == "begin" and "last" in event[1]]
    assert sorted(cards) == ["GPU-0", "GPU-0", "GPU-1", "GPU-1"]
    assert os.listdir(some.folder / "leases")
