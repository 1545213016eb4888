"""What training does to pictures: crops, mosaics, colours, and the batches made of them."""
