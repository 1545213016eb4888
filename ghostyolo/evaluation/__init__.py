"""How good a network is: average precision of boxes, accuracy of classes."""
