"""Write a trained model as a file for other programs; the formats are those of `formats`."""
