"""How many images train, validate and test."""


def split_sizes(n: int, validation_fraction: float) -> tuple[int, int]:
    """Numbers of training and of validation images out of `n`."""
    n_validation = round(validation_fraction * n)
    return n - n_validation, n_validation


def test_size(n: int) -> int:
    """Number of test images that are split off `n` images of a class that come without: a sixth."""
    return max(1, round(n / 6))
