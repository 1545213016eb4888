"""A detector or a classifier behind HTTP. Needs the extra `serve`."""
