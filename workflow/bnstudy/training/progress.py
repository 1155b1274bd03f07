"""What a run says while it trains: a bar on a terminal, a line for each epoch everywhere."""

import sys

from tqdm import tqdm

from bnstudy.logs import say


class Progress:
    """Is told by the loop how far a run has come; see `bnstudy.training.loop.train`."""

    def __init__(self, name: str, epochs: int):
        self.name = name
        self.epochs = epochs
        self.bar: tqdm | None = None

    def start(self, step: int, n_steps: int) -> None:
        """The run begins, or goes on after this many steps."""
        if step:
            say(f"resumed after step {step} of {n_steps}")
        self.bar = tqdm(total=n_steps, initial=step, unit="step", disable=None, desc=self.name, leave=False)

    def update(self, step: int) -> None:
        self.bar.update(step - self.bar.n)

    def end_epoch(self, epoch: int, step: int, metrics: list[tuple]) -> None:
        """An epoch is done: one line, above the bar on a terminal and alone in a log file."""
        self.update(step)
        known = {(split, metric): value for at, _, split, metric, value in metrics if at == epoch}
        said = f"epoch {epoch}/{self.epochs}: train loss {known['train', 'loss']:.4f} as trained"
        if ("validation", "loss") in known:
            said += (
                f", {known['train_subset', 'loss']:.4f} clean; validation loss "
                f"{known['validation', 'loss']:.4f}, accuracy {known['validation', 'accuracy']:.2%}"
            )
        self.bar.write(said, file=sys.stderr)
        if epoch == self.epochs:
            self.bar.close()
