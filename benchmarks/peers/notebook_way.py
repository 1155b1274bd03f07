"""The study's network trained the way a notebook does it: one loop over the cells, then a table.

torchvision decodes, scales and normalizes image by image, a DataLoader gathers them into batches,
every step reads the loss back, and PyTorch has its default number of threads. Nothing is slowed down
on purpose and nothing sped up.
"""

import argparse

import pandas as pd
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Subset, random_split
from torchvision import datasets, transforms


def build_model(norm: str) -> nn.Sequential:
    """784-128-64-10 with ReLU, with or without BatchNorm1d before each ReLU."""
    layers: list[nn.Module] = [nn.Flatten()]
    for n_inputs, n_outputs in ((784, 128), (128, 64)):
        layers.append(nn.Linear(n_inputs, n_outputs))
        if norm == "batch":
            layers.append(nn.BatchNorm1d(n_outputs))
        layers.append(nn.ReLU())
    layers.append(nn.Linear(64, 10))
    return nn.Sequential(*layers)


def open_mnist(root: str) -> list[Subset]:
    """MNIST's training images, split at random into 48,000 for training and 12,000 for validation."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean=(0.5,), std=(0.5,))])
    return random_split(datasets.MNIST(root, train=True, transform=transform), (48_000, 12_000))


def train(train_set, validation_set, norm: str, batch_size: int, epochs: int) -> float:
    """Train one network; its validation accuracy after the last epoch."""
    train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
    validation_loader = DataLoader(validation_set, batch_size=batch_size)
    model = build_model(norm)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        model.train()
        train_loss = 0.0
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * len(labels)

        model.eval()
        validation_loss, correct = 0.0, 0
        with torch.no_grad():
            for images, labels in validation_loader:
                logits = model(images)
                validation_loss += criterion(logits, labels).item() * len(labels)
                correct += (logits.argmax(dim=1) == labels).sum().item()
        accuracy = correct / len(validation_set)
        print(
            f"epoch {epoch + 1}: train loss {train_loss / len(train_set):.4f}, "
            f"validation loss {validation_loss / len(validation_set):.4f}, "
            f"accuracy {accuracy:.2%}"
        )
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="folder that holds MNIST/raw")
    parser.add_argument("--norms", nargs="+", required=True)
    parser.add_argument("--batch-sizes", type=int, nargs="+", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", required=True, help="CSV file to write")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    train_set, validation_set = open_mnist(arguments.root)
    rows = []
    for norm in arguments.norms:
        for batch_size in arguments.batch_sizes:
            accuracy = train(train_set, validation_set, norm, batch_size, arguments.epochs)
            rows.append({"norm": norm, "batch_size": batch_size, "val_accuracy": accuracy})
    pd.DataFrame(rows).to_csv(arguments.out, index=False)


if __name__ == "__main__":
    main()
