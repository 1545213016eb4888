"""Pictures and videos in, predictions out: sources, jobs, and the files that they write."""
