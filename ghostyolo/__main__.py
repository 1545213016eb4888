"""python -m ghostyolo."""

import sys

from ghostyolo.cli import main

sys.exit(main())
