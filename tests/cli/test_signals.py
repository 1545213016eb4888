"""SIGTERM ends a command as Ctrl-C does. As a script: commands that get it as they write a file."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from ghostyolo import cli
from support import runs, tiny

BEFORE = 7  # pictures of 11: the first is in all files while threads draw the next few


def commands(folder: Path) -> dict[str, list[str]]:
    """Return the words of commands that write, some a file at the end and some row by row."""
    data, cfg, out = (str(folder / name) for name in ("shapes", "tiny.cfg", "out"))
    model = [cfg, str(folder / "tiny.weights")]
    pictures = [f"{data}/JPEGImages", "--runtime", "torch", "--out", f"{out}/drawn"]
    return {
        "gencfg": ["--classes", "3", "--out", f"{out}/my.cfg"],
        "data": [data, "--sheet", f"{out}/sheet.jpg"],
        "anchors": [data, cfg, "--out", f"{out}/my.cfg"],
        "export": [*model, f"{out}/x.torchscript"],
        "detect": [*model, *pictures, "--jsonl", str(folder / "x.jsonl")],
    }


def play(folder: Path) -> None:
    """Run the commands, send each SIGTERM as a file gets its name, and print their exit codes."""
    left = 0  # of the files that get their names undisturbed

    def hook(event: str, _: object) -> None:
        nonlocal left
        left -= event == "os.rename"
        if event == "os.rename" and left == -1:
            signal.raise_signal(signal.SIGTERM)

    sys.dont_write_bytecode = True  # compiled modules get their names by renaming too
    sys.addaudithook(hook)
    for name, rest in commands(folder).items():
        left = BEFORE * (name == "detect")
        sys.stdout.write(f"{name} {cli.main([name, *rest])}\n")


def test_sigterm_leaves_nothing_half_written(tmp_path: Path) -> None:
    tiny.pictures(tmp_path / "shapes")
    tiny.write(tmp_path)
    tiny.eager_weights(tmp_path)
    (tmp_path / "out").mkdir()
    words = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(words, env=runs.variables(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ended = [line for line in done.stdout.splitlines() if line.split()[0] in cli.ABOUTS]
    assert ended == [f"{name} 143" for name in commands(tmp_path)], done.stdout + done.stderr
    assert done.stderr.count("ghostyolo: interrupted by SIGTERM\n") == len(ended)
    left = [path for path in tmp_path.rglob("*") if ".part" in path.name or ".lock" in path.name]
    assert not left
    assert (tmp_path / "x.jsonl").read_text().endswith("}\n")
    assert not (tmp_path / "out/my.cfg").exists()


if __name__ == "__main__":
    play(Path(sys.argv[1]))
