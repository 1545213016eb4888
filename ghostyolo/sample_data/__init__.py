"""A labelled data set that the program paints, for a first try of training and detection."""
