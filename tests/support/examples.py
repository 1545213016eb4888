"""The examples of the pages: how they are found, shortened and run, and the files they name.

A page is run from top to bottom in a folder of its own: each command of an `sh` block, and each
`python` block, whose names later blocks of the page see. All have to end with exit code 0, unless
the page ends the command with `|| echo "exit code $?"`. `stand_ins` writes what the examples take
for granted. What a test cannot run stands below a comment that says why, which a reader of the
rendered page does not see:

    <!-- not run: needs a camera -->            the whole next block
    <!-- not run (--runtime cuda): needs a GPU -->    its commands that contain the words
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ghostyolo import cli
from ghostyolo.convert import convert
from ghostyolo.jobs.export import export
from ghostyolo.model.model import Model
from ghostyolo.network import Network, dumps, loads
from ghostyolo.training.run import train
from ghostyolo.zoo import networks
from ghostyolo.zoo.ghostnet import GhostNet
from support import ROOT, pictures, tiny
from support.runs import variables

PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")))
LANGUAGES = ("sh", "python")
FENCE = re.compile(r" *```(\S*)\n")
MARK = re.compile(r" *<!-- not run(?: \((.+?)\))?: (.+) -->\n")
PROGRAMS = ("$", "ghostyolo", "python", "python3", "pip", "torchrun", "curl", "git", "import")
FAILS = ' || echo "exit code $?"'
SHELL = re.compile(r"[|&;<>$*`]")  # what only a shell understands
# Examples are run as written, except for what is replaced here.
SHORTER = (
    (r"--epochs \d\d+(?!.*--resume)", "--epochs 1"),
    (r"--epochs 1 (.*learning_rate=1000)", r"--epochs 9 \1"),  # 27 iterations, not 100
    (r"\bepochs=\d\d+", "epochs=1"),
    (r"--size \d+x\d+", "--size 64x64"),
    (r"max_batches=\d+", "max_batches=2"),
    (r"^ghostyolo train (?!.*(--epochs|--resume|max_batches))", "ghostyolo train --epochs 1 "),
    (r"^ghostyolo val (?!.*(--runtime|onnx))", "ghostyolo val --runtime torch "),
    (r"^ghostyolo bench (?!.*--runtime)", "ghostyolo bench --runtime onnxruntime "),
    (r"^ghostyolo bench ", "ghostyolo bench --seconds 0.05 "),
    (r"(bench .*--seconds) [\d.]+", r"\1 0.05"),
    (r"(gencfg(?: --(?:task|data) \S+)*) --width [\d.]+", r"\1 --width 0.1"),
)


class Block(NamedTuple):
    """A fenced block of a page; line: of its fence, from 1."""

    page: str
    line: int
    language: str
    text: str
    part: str  # the commands that are not run contain it
    reason: str  # why they are not run; "" if all are


def blocks(page: str, text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    found, mark, lines = [], ("", ""), iter(enumerate(text.splitlines(keepends=True), 1))
    for number, line in lines:
        if comment := MARK.fullmatch(line):
            mark = comment[1] or "", comment[2]
        elif fence := FENCE.fullmatch(line):
            inside = []
            for _, line in lines:
                if line.strip() == "```":
                    break
                inside.append(line)
            found.append(Block(page, number, fence[1], textwrap.dedent("".join(inside)), *mark))
            mark = "", ""
    return found


def commands(block: Block) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each command of a block; backslashes join lines."""
    whole, start = "", 0
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        start = start or number
        whole += line
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        if shlex.split(whole, comments=True):
            yield start, whole.strip()
        whole, start = "", 0


class Reader:
    """Someone who tries the examples of a page in the working directory, one after the other.

    `failures` has a text for each that failed.
    """

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "example"}
        self.failures: list[str] = []
        self.port = _free_port()
        self._servers = ExitStack()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    def follow(self, block: Block) -> None:
        """Run what is to be run of a block."""
        if block.reason and not block.part:
            return
        if block.language == "python":
            place = f"{block.page}:{block.line}"
            source = "\n" * block.line + self.shortened(block.text)  # the lines are the page's
            self.attempt(place, "", lambda: exec(compile(source, place, "exec"), self.names))
            return
        for line, command in commands(block):
            if not block.part or block.part not in command:
                self.type(f"{block.page}:{line}", command)

    def type(self, place: str, command: str) -> None:
        """Run one command; one that the page lets fail has to."""
        short = self.shortened(command.removesuffix(FAILS))
        words = shlex.split(short, comments=True)
        if words[0] == "ghostyolo" and not SHELL.search(short.split(" #")[0]):
            _forget_run(shlex.split(command))
            action = self._serve if words[1:2] == ["serve"] else cli.main
            run = partial(action, words[1:])
        else:
            run = partial(_shell, short)
        if command.endswith(FAILS):
            self.attempt(place, short, lambda: "0, but should fail" if run() == 0 else 0)
        else:
            self.attempt(place, short, run)

    def shortened(self, text: str) -> str:
        for pattern, replacement in SHORTER:
            text = re.sub(pattern, replacement, text)
        return re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{self.port}", text)

    def attempt(self, place: str, title: str, action: Callable[[], object]) -> None:
        """Run something; note what it printed if it raised or returned anything but 0 or None."""
        output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        with redirect_stdout(output), redirect_stderr(output):
            try:
                code = action()
            except SystemExit as stop:
                code = stop.code
            except Exception:
                traceback.print_exc(limit=-4)
                code = "an exception"
        if code:
            printed = output.buffer.getvalue().decode(errors="replace")  # type: ignore[attr-defined]
            self.failures.append(f"{place}: {title}\n  ended with {code}\n{printed[-2000:]}")

    def _serve(self, words: list[str]) -> None:
        """Start a server, which ends with the page or before the next, and wait for it."""
        self._servers.close()
        line = [sys.executable, "-m", "ghostyolo", *words, "--port", str(self.port)]
        server = self._servers.enter_context(subprocess.Popen(line, env=variables()))
        self._servers.callback(server.terminate)
        for _ in range(600):
            if server.poll() is not None:
                raise SystemExit(server.returncode or "no server")
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.1)
        raise SystemExit("no answer within a minute")


def _shell(command: str) -> int:
    environment = variables()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(command, shell=True, env=environment, capture_output=True)
    sys.stdout.write((done.stdout + done.stderr).decode(errors="replace"))
    return done.returncode


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _forget_run(words: list[str]) -> None:
    """Delete the run that a command is about to make: a page may make it twice."""
    if words[1] == "train" and "--resume" not in words:
        name = words[words.index("--name") + 1] if "--name" in words else Path(words[2]).stem
        shutil.rmtree(Path("runs/train", name), ignore_errors=True)


def stand_ins(folder: Path) -> None:
    """Write into an empty folder what the examples name.

    runs/train/first is the run of my.cfg on DATA, runs/train/flowers of a classifier on FLOWERS.
    """
    for name in ("cfg", "tools"):
        (folder / name).symlink_to(ROOT / name)
    data = tiny.pictures(folder / "DATA")
    shutil.copy(data / "shapes.names", folder / "my.names")
    (folder / "coco.names").write_text("".join(f"class {number}\n" for number in range(80)))
    _copy_pictures(sorted(data.glob("JPEGImages/*.jpg")), folder)
    _write_video(folder / "clip.mp4")
    (folder / "my.cfg").write_text(SMALL)
    first = train(folder / "my.cfg", data, epochs=1, folder=folder / "runs/train/first")
    shutil.copy(first.weights, folder / "best.weights")
    for name in ("my", "mine", "net"):
        shutil.copy(first.folder / "model.cfg", folder / f"{name}.cfg")
        shutil.copy(first.weights, folder / f"{name}.weights")
    export(first.folder, folder / "my.onnx")
    traced = [str(folder / name) for name in ("my.cfg", "my.weights", "my.npz")]
    assert cli.main(["trace", *traced]) == 0
    for name in ("yolov4-tiny", "yolov4-custom"):
        _write(folder, name, loads(SMALL.replace("=22", "=170").replace("classes=6", "classes=80")))
    style = GhostNet(width=0.1, gate="hard")
    for name in ("ghostnet", "detector"):
        _write(folder, name, networks.detector(style, classes=6, size=(64, 64), neck_width=16))
    classifier = networks.classifier(style, classes=6, size=(64, 64))
    _write(folder, "ghostnet-hard", classifier)
    timm = folder / "timm-ghostnet.safetensors"
    convert(classifier, folder / "ghostnet-hard.weights", timm, to="ghostnet")
    flowers = pictures.folders(folder / "FLOWERS", {"train": 4, "val": 2, "test": 1})
    (folder / "flowers.names").write_text("".join(f"{name}\n" for name in pictures.COLOURS))
    (folder / "flowers.cfg").write_text(pictures.CFG)
    train(folder / "flowers.cfg", flowers, epochs=1, folder=folder / "runs/train/flowers")


# The second convolution is one that `ghostify` rewrites.
SMALL = tiny.CFG.replace(
    "\n[convolutional]\nfilters=22",
    "\n[convolutional]\nbatch_normalize=1\nfilters=16\nsize=3\nstride=1\npad=1\nactivation=leaky\n"
    "\n[convolutional]\nfilters=22",
)


def _write(folder: Path, name: str, network: Network) -> None:
    """Write a cfg and random weights for it."""
    (folder / f"{name}.cfg").write_text(dumps(network))
    model = Model(network)
    model.initialise_heads()
    model.save_weights(folder / f"{name}.weights")


def _copy_pictures(files: list[Path], folder: Path) -> None:
    shutil.copy(files[0], folder / "dog.jpg")
    for name in ("holiday", "pictures", "PICTURES"):
        (folder / name).mkdir()
        for file in files[:2]:
            shutil.copy(file, folder / name)


def _write_video(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (128, 96))
    for level in (0, 120, 240):
        writer.write(np.full((96, 128, 3), level, np.uint8))
    writer.release()
