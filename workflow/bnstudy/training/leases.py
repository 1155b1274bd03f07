"""Which GPU a job uses: a lease of one card, held until the process ends.

Snakemake counts GPUs and assigns none, so jobs that run at once would all take the first card. A job therefore locks a
file named after the card's UUID before CUDA starts, and shows CUDA that card alone. The kernel gives the lock back
however the process ends.

The locks lie on the node, in a folder of the user's own: all jobs of a user on a machine share the cards out among
themselves, whatever workflow they belong to. Between users, that takes a scheduler.
"""

import hashlib
import os
import random
import stat
import time
from collections import Counter
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path

from filelock import FileLock, Timeout

from bnstudy.errors import UserError
from bnstudy.logs import say

# Not TMPDIR, which Snakemake and schedulers set differently for jobs of one user.
FOLDER = Path(f"/tmp/bnstudy-gpu-leases-{os.getuid()}")
# Set in every job of Slurm, PBS, LSF, Grid Engine, HTCondor and Flux. A container of Kubernetes needs no rule: its
# driver lists no cards but its own.
SCHEDULERS = ["SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "SGE_TASK_ID", "_CONDOR_JOB_AD", "FLUX_JOB_ID"]
POLL_SECONDS = 0.1

held: list = []  # the lock of this process; a lock that is forgotten would be released


@dataclass(frozen=True)
class Card:
    """What a job can have for itself: a GPU, or one MIG instance of a GPU that is divided."""

    uuid: str
    gpu_uuid: str  # the same, unless this is an instance
    gpu_index: int  # in the order of PCI buses, as nvidia-smi counts
    name: str


def list_cards() -> list[Card]:
    """The cards that the NVIDIA driver lists, without starting CUDA; none without a driver.

    Of a GPU that is divided, only the MIG instances can be used.
    """
    import pynvml as nvml

    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    cards: list[Card] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        with suppress(nvml.NVMLError):  # a card that this process may not use
            gpu, is_divided = nvml.nvmlDeviceGetHandleByIndex(index), False
            uuid, name = nvml.nvmlDeviceGetUUID(gpu), nvml.nvmlDeviceGetName(gpu)
            with suppress(nvml.NVMLError):  # it knows no MIG
                is_divided = nvml.nvmlDeviceGetMigMode(gpu)[0] == nvml.NVML_DEVICE_MIG_ENABLE
            if not is_divided:
                cards.append(Card(uuid, uuid, index, name))
                continue
            for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
                with suppress(nvml.NVMLError):  # there may be gaps between their numbers
                    part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, number)
                    cards.append(Card(nvml.nvmlDeviceGetUUID(part), uuid, index, name))
    nvml.nvmlShutdown()
    return cards


def visible_cards(cards: Sequence[Card], visible: str | None) -> list[Card]:
    """The cards that a value of CUDA_VISIBLE_DEVICES names; all of them where it is not set.

    As in CUDA, what follows a name that fits no card is hidden too, so that "", "-1" and "NoDevFiles" hide everything.
    """
    if visible is None:
        return list(cards)
    named = (cards_named(name.strip(), cards) for name in visible.split(","))
    return list(dict.fromkeys(chain.from_iterable(takewhile(bool, named))))


def cards_named(name: str, cards: Sequence[Card]) -> list[Card]:
    """The card of an index as nvidia-smi counts, a UUID, or the beginning of one that fits no other.

    All instances of a GPU that is divided.
    """
    if name.isdecimal():
        return [card for card in cards if card.gpu_index == int(name)]
    if not name.startswith(("GPU-", "MIG-")):
        return []
    uuids = {uuid for card in cards for uuid in (card.uuid, card.gpu_uuid)}
    fitting = {name} if name in uuids else {uuid for uuid in uuids if uuid.startswith(name)}
    return [one for one in cards if len(fitting) == 1 and fitting & {one.uuid, one.gpu_uuid}]


def given_by_scheduler(environ: MutableMapping[str, str]) -> bool:
    """Whether this is a scheduler's job that was given one card, which is nobody else's then."""
    visible = environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible != "" and "," not in visible and any(name in environ for name in SCHEDULERS)


def lease_card(
    jobs_per_gpu: int = 1,
    *,
    environ: MutableMapping[str, str] = os.environ,
    cards: Callable[[], Sequence[Card]] = list_cards,
    folder: Path = FOLDER,
) -> Card | None:
    """Wait for a card, lock it until this process ends, and leave CUDA nothing else to see.

    Call it before CUDA is asked anything: CUDA reads CUDA_VISIBLE_DEVICES once. Who sees the same cards is served in
    the order of arrival, with the least busy of them; a card has `jobs_per_gpu` leases at a time. None if there is no
    card to lease, or if a scheduler has given this job its own. A UserError says that `jobs_per_gpu` is below 1, or
    that the folder of the locks belongs to somebody else.
    """
    if jobs_per_gpu < 1:
        raise UserError(f"--jobs-per-gpu {jobs_per_gpu} lets no job start; write 1 or more.")
    if given_by_scheduler(environ):
        say(f"GPU {environ['CUDA_VISIBLE_DEVICES']} was given by the scheduler")
        return None
    mine = visible_cards(cards(), environ.get("CUDA_VISIBLE_DEVICES"))
    if not mine:
        return None
    folder = make_private(folder)
    same_cards = hashlib.sha256(" ".join(sorted(card.uuid for card in mine)).encode()).hexdigest()
    queue = folder / f"queue-{same_cards[:16]}"
    queue.mkdir(exist_ok=True)
    ticket = join_queue(queue)
    waiting = False
    while not (is_first(ticket) and (leased := take_slot(mine, jobs_per_gpu, folder))):
        if not waiting:
            say(f"GPU lease: waiting for one of {len(mine)} cards")
        waiting = True
        time.sleep(POLL_SECONDS * random.uniform(0.5, 1.5))
    Path(ticket.lock_file).unlink(missing_ok=True)
    ticket.release()
    card, slot, lock = leased
    held.append(lock)
    environ["CUDA_VISIBLE_DEVICES"] = card.uuid
    say(f"GPU lease: {card.name}, {card.uuid}, place {slot + 1} of {jobs_per_gpu}")
    return card


def release() -> None:
    """Give the card back before the process ends."""
    while held:
        held.pop().release()


def make_private(folder: Path) -> Path:
    """Make a folder that is this user's alone; with a number where somebody else has put something."""
    for number in range(10):
        mine = folder.with_name(f"{folder.name}-{number}") if number else folder
        with suppress(FileExistsError):
            mine.mkdir(mode=0o700, exist_ok=True)
        about = mine.lstat()
        if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid():
            return mine
    raise UserError(
        f"{folder} and the like belong to somebody else, so no GPU can be leased; give each job a card "
        "with CUDA_VISIBLE_DEVICES in a scheduler's job, or ask who administers the machine"
    )


def try_lock(path: Path):
    """A lock of a file, or None while another process has it."""
    lock = FileLock(path)
    with suppress(Timeout):
        lock.acquire(blocking=False)
    return lock if lock.is_locked else None


def join_queue(queue: Path):
    """The lock of a new ticket; its name is the time of arrival, by the one clock of the machine."""
    ticket = FileLock(queue / f"{time.monotonic_ns():020}-{os.getpid()}")
    ticket.acquire()
    return ticket


def is_first(ticket) -> bool:
    """Whether nobody who came earlier is still waiting; tickets of the dead are cleared away."""
    own = Path(ticket.lock_file)
    for other in own.parent.iterdir():
        if other.name < own.name:
            if (lock := try_lock(other)) is None:
                return False
            other.unlink(missing_ok=True)  # whoever held it was killed
            lock.release()
    return True


def take_slot(cards: Sequence[Card], slots: int, folder: Path):
    """Lock a place on the card with the most free ones; (card, place, lock), or None if all are taken."""
    free = [  # all are locked for the blink of the choice
        (card, slot, lock)
        for card in cards
        for slot in range(slots)
        if (lock := try_lock(folder / f"{card.uuid.replace('/', '_')}.{slot}.lock"))
    ]
    places = Counter(card for card, _, _ in free)
    chosen = max(free, key=lambda place: places[place[0]], default=None)
    for place in free:
        if place is not chosen:
            place[-1].release()
    return chosen
