"""Scores of a network: average precision of a detector, accuracy of a classifier."""
