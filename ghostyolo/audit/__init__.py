"""Which labels of a data set are probably wrong, by networks that have not seen them."""
