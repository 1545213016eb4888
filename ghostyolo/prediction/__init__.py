"""Pictures and videos in, detections out: sources, the job, and the files that it writes."""
