"""The study's network trained with PyTorch Lightning, its cells swept by a Hydra multirun.

torchvision's transforms and DataLoaders, a Trainer with its own defaults but for the
progress bar, Hydra's basic launcher. Nothing is slowed down on purpose and nothing sped up.
"""

import hydra
import lightning
import torch
from notebook_way import build_model, open_mnist
from omegaconf import DictConfig
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader


class Images(lightning.LightningDataModule):
    """MNIST, split at random into training and validation images."""

    def __init__(self, root: str, batch_size: int, workers: int):
        super().__init__()
        self.root, self.batch_size, self.workers = root, batch_size, workers

    def setup(self, stage: str) -> None:
        self.train_set, self.validation_set = open_mnist(self.root)

    def loader(self, images, *, shuffle: bool) -> DataLoader:
        return DataLoader(
            images,
            batch_size=self.batch_size,
            shuffle=shuffle,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def train_dataloader(self) -> DataLoader:
        return self.loader(self.train_set, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self.loader(self.validation_set, shuffle=False)


class Classifier(lightning.LightningModule):
    def __init__(self, norm: str):
        super().__init__()
        self.network = build_model(norm)
        self.criterion = nn.CrossEntropyLoss()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, labels = batch
        loss = self.criterion(self.network(images), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, labels = batch
        logits = self.network(images)
        self.log("val_loss", self.criterion(logits, labels))
        self.log("val_accuracy", (logits.argmax(dim=1) == labels).float().mean())

    def configure_optimizers(self) -> optim.Optimizer:
        return optim.Adam(self.parameters(), lr=1e-3)


@hydra.main(version_base=None, config_path=".", config_name="lightning_way")
def main(config: DictConfig) -> float:
    """One job: train a network; its validation accuracy after the last epoch."""
    lightning.seed_everything(config.seed)
    torch.set_float32_matmul_precision("highest")
    trainer = lightning.Trainer(max_epochs=config.epochs, accelerator="cpu", enable_progress_bar=False)
    data = Images(config.root, config.batch_size, config.workers)
    trainer.fit(Classifier(config.norm), datamodule=data)
    return trainer.callback_metrics["val_accuracy"].item()


if __name__ == "__main__":
    main()
