"""What training minimises: matching of truths to slots, and the deltas or losses that follow."""
