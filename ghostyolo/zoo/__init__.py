"""The generator: network families as tables, and the necks and heads that make detectors."""
