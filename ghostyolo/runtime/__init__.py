"""Other programs that compute a network: inputs in, the outputs of its heads or layers out."""
