"""A detector behind HTTP. Needs the extra `serve`."""
