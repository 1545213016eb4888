"""Set up everything and check it: lint, format, types, and the tests with OpenCV 5 and OpenCV 4.

python3 tools/test.py                       all of it
python3 tools/test.py -k nms --opencv 5     what follows goes to pytest; one OpenCV only
"""

from __future__ import annotations

import argparse

from environment import OPENCV_4, cores, prepare, prepare_opencv_4, run, say

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
)


def main() -> int:
    """Run every check, also after one has failed; return 1 if any has.

    The tests come last, so that pytest's own summary closes the output.
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--opencv", choices=("4", "5"), help="run the tests with this one only")
    options, rest = parser.parse_known_args()
    prepare(test=True)
    failed = [" ".join(check) for check in CHECKS if run("-m", *check)]
    for version in options.opencv or "54":
        if failed:
            say(f"failed so far: {', '.join(failed)}")
        if run_tests(version, rest):
            failed.append(f"tests with OpenCV {version}")
    return 1 if failed else 0


def run_tests(opencv: str, arguments: list[str]) -> int:
    """Run the tests on every core; return pytest's exit code."""
    variables: dict[str, str] = {}
    if opencv == "4":
        prepare_opencv_4()
        variables["PYTHONPATH"] = str(OPENCV_4)
    say(f"tests with OpenCV {opencv}")
    return run("-m", "pytest", "-n", str(cores()), *arguments, **variables)


if __name__ == "__main__":
    raise SystemExit(main())
