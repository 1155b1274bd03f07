"""A reproducible study of what batch normalization does to training."""

__version__ = "0.1.0"
