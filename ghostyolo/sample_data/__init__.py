"""A labelled data set that the program paints itself, to try things on."""
