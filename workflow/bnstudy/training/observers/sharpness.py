"""The sharpness of the loss: the largest eigenvalue of its Hessian."""

import copy
import statistics

import torch
import torch.nn.functional as F
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from bnstudy.training.observers.landscape import as_vector
from bnstudy.training.observing import Moment, Observer, Rows

TOLERANCE = 1e-3  # relative, of the eigenvalue


class Sharpness(Observer):
    """`sharpness:t` of the batch of step t, every `sharpness_every` steps, and `sharpness`.

    The latter is the median over the last third of the probes. In gradient descent with the whole
    training set as its batch, sharpness rises to 2 / learning rate, the largest at which a quadratic
    loss would be stable, and stays there (Cohen et al. 2021, arXiv:2103.00065).
    """

    state = ("found",)

    def __init__(self, sharpness_every: int = 50):
        self.every = sharpness_every
        self.found: list[float] = []

    def observe(self, now: Moment) -> Rows:
        if now.step % self.every == 0 and torch.isfinite(now.loss):
            self.found.append(sharpness(now.model, now.inputs, now.labels))
            yield now.step, "train", f"sharpness:{now.step}", self.found[-1]

    def end(self, now: Moment) -> Rows:
        last = self.found[-max(1, len(self.found) // 3) :]
        known = now.status == "ok" and last
        yield now.step, "train", "sharpness", statistics.median(last) if known else None


def sharpness(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """The largest eigenvalue of the Hessian of a batch's cross-entropy by all parameters.

    In training mode, by the Lanczos method on products with the Hessian (Pearlmutter 1994). The
    network is left as it is.
    """
    twin = copy.deepcopy(model).train()
    parameters = list(twin.parameters())
    loss = F.cross_entropy(twin(inputs), labels)
    gradient = as_vector(torch.autograd.grad(loss, parameters, create_graph=True))

    def product(vector):
        direction = torch.from_numpy(vector).to(gradient).flatten()
        found = torch.autograd.grad(
            gradient @ direction, parameters, retain_graph=True, materialize_grads=True
        )
        return as_vector(found).cpu().numpy()

    n = len(gradient)
    start = torch.randn(n, generator=torch.Generator().manual_seed(0)).numpy()
    hessian = LinearOperator((n, n), product, dtype=start.dtype)
    values = eigsh(hessian, k=1, which="LA", v0=start, tol=TOLERANCE, return_eigenvectors=False)
    return float(values[0])
