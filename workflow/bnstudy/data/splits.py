"""How many images train and how many validate."""


def split_sizes(n: int, validation_fraction: float) -> tuple[int, int]:
    """Numbers of training and of validation images out of `n`."""
    n_validation = round(validation_fraction * n)
    return n - n_validation, n_validation
