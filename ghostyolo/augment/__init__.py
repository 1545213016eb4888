"""Augmentation in training: crops, mosaics, colours, and the batches of changed pictures."""

import numpy as np

Rng = np.random.Generator
