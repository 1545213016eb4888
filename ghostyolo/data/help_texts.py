"""Help texts of options that several commands have for DATA. This file loads nothing."""

OUTSIDE_HELP = "let COCO and VOC files name pictures outside of DATA"
NO_CACHE_HELP = "read all of DATA anew, without the index that is kept of large data"
LIMIT_HELP = "for a first try: at most N pictures of a split, the same random ones each time"
OVERLAP = 0.2  # of tiles
OVERLAP_HELP = f"least overlap of tiles, as a fraction of their sides ({OVERLAP})"
