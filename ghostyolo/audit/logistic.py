"""Multinomial logistic regression on standardised features and their products."""

from __future__ import annotations

import numpy as np
import torch

SPREAD = 4.0  # standard deviations to which features are clipped
PENALTY = 0.01  # of the squared weights
STEPS = 200  # of L-BFGS


class Logistic:
    """Probabilities of K states, from n examples with F features each.

    x: (n, F). states: (n,), 0 to K - 1.
    """

    def __init__(self, x: np.ndarray, states: np.ndarray, count: int) -> None:
        self._first = _scale(x)
        products = self._products(x)
        self._second = _scale(products)
        z = torch.from_numpy(self._standardised(x))
        targets = torch.from_numpy(np.asarray(states, np.int64))
        weight = torch.zeros(z.shape[1], count, dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(count, dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            solver.zero_grad()
            entropy = torch.nn.functional.cross_entropy(z @ weight + bias, targets)
            total = entropy + PENALTY * weight.square().sum() / count
            total.backward()
            return total

        solver.step(loss)
        self._weight, self._bias = weight.detach().numpy(), bias.detach().numpy()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of each state, (m, K), for m rows of features."""
        values = self._standardised(x) @ self._weight + self._bias
        exponents = np.exp(values - values.max(1, keepdims=True))
        return exponents / exponents.sum(1, keepdims=True)

    def _products(self, x: np.ndarray) -> np.ndarray:
        mean, deviation = self._first
        z = ((x - mean) / deviation).clip(-SPREAD, SPREAD)
        i, j = np.triu_indices(z.shape[1])
        return np.concatenate((z, z[:, i] * z[:, j]), 1)

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        mean, deviation = self._second
        return (self._products(x) - mean) / deviation


def from_other_folds(
    x: np.ndarray,
    states: np.ndarray,
    folds: np.ndarray,
    found: np.ndarray,
    own_folds: np.ndarray,
    count: int,
) -> np.ndarray:
    """Return the probability of each state, (m, count), learned from examples of other folds.

    x, states, folds: of the examples, (n, F) and (n,). found, own_folds: of the rows to judge.
    """
    result = np.zeros((len(found), count))
    for fold in np.unique(own_folds):
        own, learned = own_folds == fold, folds != fold
        result[own] = Logistic(x[learned], states[learned], count)(found[own])
    return result


def _scale(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(0), x.std(0) + 1e-6
