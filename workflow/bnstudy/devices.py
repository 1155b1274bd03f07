"""Choosing the device of a run and making its arithmetic repeatable."""

import os

import torch

from bnstudy.errors import UserError

DEVICES = ("auto", "cpu", "cuda", "mps")


def select_device(name: str) -> torch.device:
    """The device to train on; `auto` takes CUDA, else MPS, else the CPU.

    Raises
    ------
    UserError
        If a GPU is asked for by name and PyTorch finds none.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, present in available.items() if present)
    elif not available[name]:
        raise UserError(
            f"device '{name}' was asked for but PyTorch {torch.__version__} finds none on this "
            "machine; set training.device to 'auto' or 'cpu', or run where the device is."
        )
    return torch.device(name)


def make_deterministic(device: torch.device) -> None:
    """One thread and deterministic kernels: results must not depend on how many cores are free.

    Call it before the first computation on the device.
    """
    torch.set_num_threads(1)  # the number of threads changes the order of floating-point sums
    # One thread of the CPU is deterministic already, and the call costs an import of one second.
    if device.type != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which cuBLAS asks for
        torch.use_deterministic_algorithms(True)


def device_name(device: torch.device) -> str:
    """The model name of a GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    import platform

    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
