"""What the tests share: small networks, pictures, runs, goldens, and where things lie."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
