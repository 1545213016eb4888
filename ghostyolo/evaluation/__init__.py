"""How good a network is: average precision of a detector, accuracy of a classifier."""
