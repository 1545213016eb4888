"""What the commands val, compare and export do, as one call each."""
