"""Train a network: the loop, its state, the learning rate, and what a run writes."""
