"""Choosing the device of a run."""

import platform

import torch

from bnstudy.errors import UserError
from bnstudy.logs import say
from bnstudy.training import leases


def select_device(name: str, jobs_per_gpu: int = 1) -> torch.device:
    """The device to train on; `auto` takes CUDA, else MPS, else the CPU, and says so if it is that.

    On CUDA, this process holds a card until it ends, alone or with as many others as `jobs_per_gpu` says: see
    `bnstudy.training.leases`. A UserError says that PyTorch finds none of the GPU asked for.
    """
    # Before CUDA is asked anything, for it looks for the visible cards once.
    if name in ("auto", "cuda") and torch.backends.cuda.is_built():
        leases.lease_card(jobs_per_gpu)
    is_available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available, "cpu": lambda: True}
    if name == "auto":
        name = next(device for device, present in is_available.items() if present())
        if name == "cpu":
            said = "device 'auto' is the CPU here: PyTorch"
            say(f"{said} {torch.__version__} finds no GPU that it can use")
    elif not is_available[name]():
        raise UserError(
            f"device '{name}' was asked for but PyTorch {torch.__version__} finds none on this "
            "machine; set training.device to 'auto' or 'cpu', or run where the device is."
        )
    if name == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # convolutions too in all of float32, as on the CPU
    else:
        leases.release()  # a card that PyTorch cannot use
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """The model name of a GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
