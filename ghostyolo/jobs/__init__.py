"""What the commands val and export do, as one call each."""
