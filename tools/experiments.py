"""Run a table of trainings, each with one thread, and tell what each setting gives on each set.

python tools/experiments.py PLAN.yaml --out FOLDER [--jobs 2]. A run is `gencfg --data` and
`train`, as README tells them. A plan has:

    sets: {bccd: DATA, cards: DATA}     # data sets by their names
    settings:                           # by their names; the first is the one compared with
      default: {}
      no-mosaic: {train: --set net.mosaic=0}
      other-code: {code: ../checkout, gencfg: --neck-width 32}
      yolov8n-ghost: {peer: yolov8n-ghost --epochs 100}  # a network of ultralytics
    seeds: [0, 1]
    gencfg: --width 0.5 --size 320x320  # of all settings; those of a setting come after
    train: --epochs 30
    peer: --peer PEER/bin/python --size 320  # options of tools/peer_train.py

Every run resumes where it stopped, so the same command goes on with a plan, also with a longer one.
FOLDER/table.csv has a row for each finished run, with the commit of its code, the scores of its
best.weights on val and the processor seconds since its last start; what it printed is beside it.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import queue
import resource
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SCORES = ("AP", "AP50", "AP75")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
COLUMNS = (
    "setting", "set", "seed", *SCORES, "epoch", "seconds", "commit", "gencfg", "train", "date",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A training: of which setting, on which set, from which checkout, with which options.

    peer: the words for tools/peer_train.py; "" for a training of this program.
    """

    setting: str
    set: str
    data: Path
    seed: int
    code: Path
    gencfg: str
    train: str
    peer: str

    @property
    def name(self) -> str:
        return f"{self.setting}-{self.set}-{self.seed}"

    def commands(self, folder: Path) -> Iterator[list[str]]:
        """Yield the words for Python of each command of the run, which write to `folder`."""
        data, seed = str(self.data), ["--seed", str(self.seed)]
        if self.peer:
            words = [*shlex.split(self.peer), "--out", str(folder / self.name)]
            yield [str(self.code / "tools/peer_train.py"), data, *words, *seed]
            return
        cfg, program = str(folder / f"{self.name}.cfg"), ["-m", "ghostyolo"]
        yield [*program, "gencfg", "--data", data, *shlex.split(self.gencfg), "--out", cfg]
        options = [*seed, "--project", str(folder), "--name", self.name]
        alone = ["--threads", "1", "--workers", "0"]
        resume = ["--resume"] if (folder / self.name).exists() else []
        train = [*options, *alone, *resume, *shlex.split(self.train)]
        yield [*program, "train", cfg, data, *train]

    @property
    def commit(self) -> str:
        describe = ["git", "-C", str(self.code), "describe", "--always", "--dirty"]
        return subprocess.run(describe, capture_output=True, text=True).stdout.strip()


def main() -> int:
    """Run what is missing and print the table of means; return 1 if a run failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path, help="YAML file, see above")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and table")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2)")
    parser.add_argument("--table", action="store_true", help="only print what is finished")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    runs = list(planned(yaml.safe_load(args.plan.read_text()), args.plan.resolve().parent))
    failed = [] if args.table else _run_all(runs, args.out.resolve(), args.jobs)
    wanted = {run.name for run in runs}
    print(summary([row for row in _rows(args.out) if _name(row) in wanted], runs))
    print("".join(f"failed: {name}, see {args.out / name}.log\n" for name in failed), end="")
    return bool(failed)


def planned(plan: dict[str, Any], folder: Path) -> Iterator[Run]:
    """Yield the runs of a plan, seed by seed, so that the first seed of all comes first.

    folder: of the plan, from which its paths are read.
    """
    everything = itertools.product(plan["seeds"], plan["settings"].items(), plan["sets"].items())
    for seed, (setting, changes), (name, data) in everything:
        options = {
            key: f"{plan.get(key, '')} {changes.get(key, '')}".strip()
            for key in ("gencfg", "train")
        }
        peer = f"{changes['peer']} {plan.get('peer', '')}" if "peer" in changes else ""
        code = (folder / changes["code"]).resolve() if "code" in changes else ROOT
        yield Run(setting, name, (folder / data).resolve(), seed, code, **options, peer=peer)


def _run_all(runs: list[Run], out: Path, jobs: int) -> list[str]:
    """Run what the table does not have, some at a time; return the names of runs that failed."""
    done = {_name(row) for row in _rows(out)}
    waiting: queue.SimpleQueue[Run] = queue.SimpleQueue()
    for run in runs:
        if run.name not in done:
            waiting.put(run)
    failed: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            try:
                run = waiting.get_nowait()
            except queue.Empty:
                return
            row = _finished(run, out)
            with lock:
                _say(run, row)
                if row:
                    _append(out, row)
                else:
                    failed.append(run.name)

    workers = [threading.Thread(target=work) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return failed


def _finished(run: Run, out: Path) -> dict[str, Any] | None:
    """Run one training to its end and return its row, None if a command failed."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(run.code)}
    commit, seconds = run.commit, 0.0
    with open(out / f"{run.name}.log", "a") as log:
        for words in run.commands(out):
            command = [sys.executable, *words]
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=run.code
            )
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds += _processor_seconds(used)
            if process.returncode:
                return None
    best = max(_results(out / run.name), key=lambda row: float(row["AP"]) + float(row["AP50"]))
    scores = {key: best[key] for key in (*SCORES, "epoch")}
    told = {"setting": run.setting, "set": run.set, "seed": run.seed, **scores}
    gencfg, train = ("", run.peer) if run.peer else (run.gencfg, run.train)
    options = {"gencfg": gencfg, "train": train, "date": time.strftime("%Y-%m-%d")}
    return {**told, "seconds": round(seconds), "commit": commit, **options}


def _processor_seconds(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def _results(folder: Path) -> list[dict[str, str]]:
    with open(folder / "results.csv") as file:
        return [row for row in csv.DictReader(file) if row["AP"]]


def _rows(out: Path) -> list[dict[str, str]]:
    table = out / "table.csv"
    if not table.exists():
        return []
    with open(table) as file:
        return list(csv.DictReader(file))


def _name(row: dict[str, str]) -> str:
    return f"{row['setting']}-{row['set']}-{row['seed']}"


def _append(out: Path, row: dict[str, Any]) -> None:
    """Add a row to the table in one write, which a reader never sees half of."""
    table = out / "table.csv"
    begun = table.exists()
    with open(table, "a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not begun:
            writer.writeheader()
        writer.writerow(row)


def _say(run: Run, row: dict[str, Any] | None) -> None:
    told = " ".join(f"{key} {float(row[key]):.3f}" for key in SCORES) if row else "failed"
    print(f"{time.strftime('%H:%M')} {run.name}: {told}", flush=True)


def summary(rows: list[dict[str, str]], runs: list[Run]) -> str:
    """Return a table in Markdown: AP / AP50 / AP75 of each set, mean over seeds, and their means.

    A mean over the sets stands only where every set has a run. Differences are to the first
    setting, over the runs of the same sets and seeds.
    """
    sets, settings = (
        list(dict.fromkeys(getattr(run, key) for run in runs)) for key in ("set", "setting")
    )
    found: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(dict)
    for row in rows:
        scores = [float(row[key]) for key in SCORES]
        found[row["setting"]][row["set"], row["seed"]] = scores
    lines = [["setting", "seeds", *sets, "mean", f"against {settings[0]}"]]
    for setting in settings:
        mine, first = found[setting], found[settings[0]]
        cells = [_mean([mine[key] for key in mine if key[0] == name]) for name in sets]
        told = [_text(cell) for cell in cells]
        whole = _text(_mean([cell for cell in cells if cell])) if all(cells) else ""
        both = [key for key in mine if key in first]
        gains = [[mine[key][i] - first[key][i] for i in range(len(SCORES))] for key in both]
        gain = _text(_mean(gains), "+") if setting != settings[0] else ""
        seeds = len({seed for _, seed in mine})
        lines.append([setting, str(seeds), *told, whole, gain and f"{gain} ({len(both)})"])
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _mean(values: list[list[float]]) -> list[float]:
    return [statistics.mean(column) for column in zip(*values, strict=True)]


def _text(scores: list[float], sign: str = "") -> str:
    return " / ".join(f"{score:{sign}.3f}" for score in scores)


if __name__ == "__main__":
    raise SystemExit(main())
