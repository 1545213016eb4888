"""A process that dies while several validate: the others say so, and the cache stays sound.

As a script: the processes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ghostyolo.data import index
from ghostyolo.distributed import LOST, LOST_HINT
from support import processes, tiny

# The rank that dies, and a part of the path that it is about to open or rename then.
DEATHS = {
    "reads": (0, "instances_val.json"),
    "writes": (0, ".index.part"),
    "detects": (1, "/val/0005"),
}


def dies(rank: int, at: str) -> Callable[[int], None]:
    """Return what makes a process of this rank kill itself as it opens or renames a file."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == ("os.rename" if at.endswith(".part") else "open") and at in str(arguments[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda own: sys.addaudithook(hook) if own == rank else None


def words(folder: Path, *more: object) -> list[object]:
    """Return the words of a validation."""
    model = [folder / "tiny.cfg", folder / "tiny.weights"]
    return ["val", *model, folder / "data", "--runtime", "torch", "--json", "--limit", 60, *more]


def play(folder: Path) -> None:
    """Let a process of two die at each place, then validate undisturbed; print the exit codes."""
    torch.set_num_threads(1)
    for name, death in DEATHS.items():
        children = processes.start(words(folder), 2, folder / name, dies(*death))
        sys.stdout.write(f"{name} {processes.codes(children)}\n")
    for name, more in (("mapped", []), ("read", ["--no-cache"])):
        children = processes.start(words(folder, *more), 2, folder / name)
        sys.stdout.write(f"{name} {processes.codes(children)}\n")


def write_coco(folder: Path, picture: Path) -> None:
    """Write a data set that has an index, of links to one picture; nothing in it is new."""
    numbers = range(index.LEAST)
    (folder / "val").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for number in numbers:
        os.link(picture, folder / "val" / f"{number:06}.jpg")
    content = {
        "images": [{"id": i, "file_name": f"{i:06}.jpg", "width": 128, "height": 96}
                   for i in numbers],
        "annotations": [{"id": i, "image_id": i, "category_id": 1 + i % 6,
                         "bbox": [i % 50, i % 40, 30, 40]} for i in numbers],
        "categories": [{"id": 1 + i, "name": f"shape {i}"} for i in range(6)],
    }  # fmt: skip
    (folder / "annotations/instances_val.json").write_text(json.dumps(content))
    for path in (picture, *folder.rglob("*"), folder):
        os.utime(path, (1e9, 1e9))


def test_others_end_with_a_message_and_the_cache_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tiny.pictures(tmp_path / "shapes") / "JPEGImages"
    write_coco(tmp_path / "data", min(pictures.iterdir()))
    tiny.write(tmp_path)
    tiny.eager_weights(tmp_path, bias=-1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert processes.script(__file__, tmp_path) == [
        "reads [-9, 1]", "writes [-9, 1]", "detects [1, -9]", "mapped [0, 0]", "read [0, 0]",
    ]  # fmt: skip
    for name, (rank, _) in DEATHS.items():
        told = (tmp_path / f"{name}.{1 - rank}.err").read_text()
        assert told.endswith(f"ghostyolo: {LOST}; {LOST_HINT}\n") and "Traceback" not in told
    mapped, read = ((tmp_path / f"{name}.0.out").read_text() for name in ("mapped", "read"))
    assert json.loads(mapped) == json.loads(read)
    assert [path.suffix for path in (tmp_path / "ghostyolo/data-sets").iterdir()] == [".index"]


if __name__ == "__main__":
    play(Path(sys.argv[1]))
