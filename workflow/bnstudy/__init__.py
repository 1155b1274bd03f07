"""A reproducible study of what batch normalization does to training."""
