"""Feed mutated cfgs and weights to the parsers, which must read them or refuse them with an error.

Lint is held against the truth: it finds no error in a cfg if and only if its network computes, and
its fixes add no error and do not change a network.

Mutated pictures are decoded, with little memory, and mutated labels of each layout are read.

Usage: python tools/fuzz.py [--cfgs N] [--weights N] [--runs N] [--pictures N] [--labels N] \
    [--seed S] [FILE.cfg ...]
"""

from __future__ import annotations

import argparse
import logging
import random
import re
import resource
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fuzz_labels
from mutations import GROWTH, NUMBERS, Mutation, add, drop, flip, problem, repeat, splice

from ghostyolo import lint
from ghostyolo.errors import CfgError, DataError, Diagnostic, Findings, WeightsError
from ghostyolo.layers.base import count
from ghostyolo.network import Network, dumps, load, loads

if TYPE_CHECKING:
    from ghostyolo.model.model import Model

ROOT = Path(__file__).resolve().parents[1]
BYTES = 1 << 30  # by which the process may grow
VALUES, LAYERS = 80_000_000, 600  # of a network that is computed; a larger one takes long
SIDE = 64  # the largest width and height of a cfg that is mutated


def swap(rng: random.Random, data: bytes) -> bytes:
    """Swap two sections."""
    parts = data.split(b"\n[")
    first, second = rng.randrange(len(parts)), rng.randrange(len(parts))
    parts[first], parts[second] = parts[second], parts[first]
    return b"\n[".join(parts)


def number(rng: random.Random, data: bytes) -> bytes:
    """Replace the values of some keys by unusual numbers."""
    lines = data.split(b"\n")
    places = [place for place, line in enumerate(lines) if b"=" in line]
    for place in rng.sample(places, min(len(places), rng.choice((1, 1, 2, 4)))):
        lines[place] = lines[place].partition(b"=")[0] + b"=" + rng.choice(NUMBERS).encode()
    return b"\n".join(lines)


def exchange(rng: random.Random, data: bytes) -> bytes:
    """Copy the value of one key to another."""
    lines = data.split(b"\n")
    places = [place for place, line in enumerate(lines) if b"=" in line]
    if len(places) > 1:
        to, source = rng.sample(places, 2)
        value = lines[source].partition(b"=")[2]
        lines[to] = lines[to].partition(b"=")[0] + b"=" + value
    return b"\n".join(lines)


def deepen(rng: random.Random, data: bytes) -> bytes:
    """Append many layers whose inputs lie far back or whose outputs grow each time."""
    count = rng.choice((3, 40, 400))
    extra = rng.choice((
        b"[route]\nlayers=-1,-1\n",
        b"[upsample]\nstride=2\n",
        b"[shortcut]\nfrom=0\n",
        b"[route]\nlayers=" + b",".join([b"-1"] * 50) + b"\n",
        b"[shortcut]\nfrom=-1,-2,-3,0,1\nweights_type=per_channel\nweights_normalization=relu\n",
        b"[" * 500 + b"]" * 500 + b"\n",
    ))  # fmt: skip
    return data + b"\n" + extra * count


MUTATIONS: tuple[Mutation, ...] = (
    flip, splice, drop, repeat, swap, number, number, number, exchange, deepen
)  # fmt: skip


def read_cfg(data: bytes, folder: Path) -> None:
    """Read a cfg by lint, with and without compat, and again as written. Raises `CfgError`."""
    path = folder / "fuzz.cfg"
    path.write_bytes(data)
    found = lint.check_file(path)
    for finding in found:
        if not finding.span or not finding.rule or not finding.hint:
            raise AssertionError(f"a finding without line, rule or hint: {finding}")
    network = compared_with_truth(path, found)
    check_fix(path, errors(found), network)
    compat = Findings(quiet=True, compat=True)
    load(path, findings=compat)
    network = load(path)
    if loads(dumps(network), findings=Findings(quiet=True)) != network:
        raise AssertionError("is written as another network")


def errors(found: list[Diagnostic]) -> int:
    """Return the number of errors among the findings."""
    return sum(finding.severity == "error" for finding in found)


def compared_with_truth(path: Path, found: list[Diagnostic]) -> Network | None:
    """Return the network of a file if it can be read; compare what lint found with the truth.

    A network that is too large is not computed.
    """
    first = next((item for item in found if item.severity == "error"), None)
    try:
        network = load(path, findings=Findings(quiet=True))
    except CfgError as error:
        if not first:
            raise AssertionError(f"lint has no error, reading has: {error}") from None
        return None
    values = sum(node.shape.size for node in network)
    weights = sum(count(node.layer.weights(*network.input_shapes(node))) for node in network)
    if max(values, weights) > VALUES or len(network) > LAYERS:
        return network
    try:
        compute(network)
    except CfgError as error:
        if not first:
            raise AssertionError(f"lint has no error, computing has: {error}") from None
    else:
        if first:
            raise AssertionError(f"computes, but lint has: {first.rule} {first.message}")
    return network


def compute(network: Network) -> None:
    """Build the model of a network and run it once, if the memory allows. Raises `CfgError`."""
    import torch

    from ghostyolo.model.model import Model
    from ghostyolo.model.out_of_memory import lack_of_memory

    try:
        with torch.inference_mode():
            Model(network).eval()(torch.zeros(1, *network.options.shape))
    except RuntimeError as error:
        if not lack_of_memory(error):
            raise


def check_fix(path: Path, before: int, network: Network | None) -> None:
    """Compare the fixed file with the original: no more errors, and the same layers."""
    fixed, changes = lint.fix(lint.read_text(path), str(path))
    if not changes:
        return
    if errors(lint.check(fixed, str(path))) > before:
        raise AssertionError("fix adds errors")
    if network and loads(fixed, findings=Findings(quiet=True)).nodes != network.nodes:
        raise AssertionError("fix changes the network")


def read_weights(model: Model, data: bytes, folder: Path) -> None:
    """Read a `.weights` file. Raises `WeightsError` if it does not fit the model's network."""
    path = folder / "fuzz.weights"
    path.write_bytes(data)
    model.load_weights(path)


def shrunk(data: bytes) -> bytes:
    """Return a cfg whose input is at most `SIDE` pixels wide and high."""

    def smaller(found: re.Match[bytes]) -> bytes:
        return found[1] + b"%d" % min(int(found[2]), SIDE)

    return re.sub(rb"(?m)^(\s*(?:width|height)\s*=\s*)(\d+)", smaller, data)


def fuzz_cfgs(count: int, seed: int, files: list[Path], keep: Path) -> Counter[str]:
    """Read `count` mutated cfgs; return how often each result came, and keep what showed a bug."""
    seeds = [shrunk(path.read_bytes()) for path in files]
    results: Counter[str] = Counter()
    for trial in range(count):
        rng = random.Random(f"{seed} {trial}")
        data = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 2, 3))):
            data = rng.choice(MUTATIONS)(rng, data or b"\n")
        result = problem(lambda data=data: read_cfg(data, keep), CfgError)  # type: ignore[misc]
        add(results, result, keep / f"{seed}-{trial}.cfg", data)
    return results


def fuzz_weights(count: int, seed: int, keep: Path) -> Counter[str]:
    """Read `count` mutated `.weights` into a model of every kind of layer."""
    from ghostyolo.model.model import Model

    results: Counter[str] = Counter()
    for path in sorted((ROOT / "tests/cases/kinds").glob("*.cfg")):
        model, whole = Model(load(path)), keep / "whole.weights"
        model.save_weights(whole)
        data = whole.read_bytes()
        for trial in range(count // len(list((ROOT / "tests/cases/kinds").glob("*.cfg"))) + 1):
            rng = random.Random(f"{seed} {path.stem} {trial}")
            cut = rng.choice((len(data), len(data), rng.randrange(len(data)), rng.randrange(24)))
            changed = flip(rng, data[:cut] or b"\n") + rng.randbytes(rng.choice((0, 0, 4, 7, 4000)))
            call = lambda: read_weights(model, changed, keep)  # noqa: B023, E731
            results[problem(call, WeightsError)] += 1
    return results


def lengthen(rng: random.Random, data: bytes) -> bytes:
    """Replace four bytes by a large number, which may be a length or a size."""
    out, place = bytearray(data), rng.randrange(min(len(data), 400))
    out[place : place + 4] = rng.choice(
        (b"\xf0\0\0\0", b"\0\0\0\xf0", b"\x7f\xff\xff\xff", b"\0\xff\xff\0")
    )
    return bytes(out)


def fuzz_pictures(count: int, seed: int, keep: Path) -> Counter[str]:
    """Decode `count` mutated pictures of several formats."""
    import cv2
    import numpy as np

    from ghostyolo.data.images import decode_image

    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    seeds = []
    for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm", ".gif", ".jp2"):
        if cv2.haveImageWriter(f"x{suffix}"):
            seeds += filter(None, [np.asarray(cv2.imencode(suffix, image)[1]).tobytes()])
    results: Counter[str] = Counter()
    for trial in range(count):
        rng = random.Random(f"{seed} picture {trial}")
        data = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 2))):
            data = rng.choice((flip, splice, lengthen, lengthen))(rng, data)
        call = partial(decode_image, data, "x")
        result = problem(call, DataError, GROWTH)
        add(results, result, keep / f"{seed}-{trial}.picture", data)
    return results


def limit() -> None:
    """Let the process grow by no more than `BYTES`."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = now + BYTES if hard == resource.RLIM_INFINITY else min(now + BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("files", nargs="*", type=Path, metavar="FILE.cfg")
    p.add_argument("--cfgs", type=int, default=2000, metavar="N")
    p.add_argument("--weights", type=int, default=200, metavar="N")
    p.add_argument("--pictures", type=int, default=1000, metavar="N")
    p.add_argument("--labels", type=int, default=200, metavar="N", help="of each layout")
    p.add_argument("--runs", type=int, default=100, metavar="N", help="files of a training run")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--keep", type=Path, help="folder for the inputs that showed a bug")
    args = p.parse_args()
    logging.disable()
    files = args.files or [
        path
        for name in ("kinds", "lint", "errors")
        for path in sorted((ROOT / "tests/cases" / name).glob("*.cfg"))
    ]
    with tempfile.TemporaryDirectory() as folder:
        keep = args.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        if sys.platform == "linux":
            limit()
        results = fuzz_cfgs(args.cfgs, args.seed, files, keep) if args.cfgs else Counter()
        if args.weights:
            results += fuzz_weights(args.weights, args.seed, keep)
        if args.pictures:
            results += fuzz_pictures(args.pictures, args.seed, keep)
        if args.runs:
            import fuzz_runs  # takes the time of torch

            results += fuzz_runs.fuzz_runs(args.runs, args.seed, keep)
        if args.labels:
            results += fuzz_labels.fuzz_labels(args.labels, args.seed, keep)
    for result, times in results.most_common():
        print(f"{times:>8} {result}")
    return int(not set(results) <= {"read", "refused"})


if __name__ == "__main__":
    sys.exit(main())
