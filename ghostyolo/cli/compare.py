"""ghostyolo compare: which of several detectors is better, and what is chance."""

from __future__ import annotations

import argparse
from typing import Any

from ghostyolo.cli import model_argument, shared
from ghostyolo.syntax.arguments import Parser

EXAMPLES = (
    "runs/train/first my.onnx",
    "runs/train/first vs my.cfg my.weights net.cfg net.weights",
)
VERSUS = "vs"
ABOUT = """
It measures the average precision of each side on the same pictures, and the
difference to that of the first side. The 95 % intervals of both tell what
other pictures of the same kind would give; they come from a bootstrap over the
pictures. One training a side tells nothing of other seeds. Of several seeds a
side the mean is compared, and the intervals cover other seeds too; two seeds a
side make them wide, three or four are worth the time. The spread of the seeds
is taken to be the same on all sides.
"""


def options(p: Parser) -> None:
    """Declare the arguments of compare."""
    from ghostyolo.data.help_texts import LIMIT_HELP
    from ghostyolo.data.layouts import DATA_HELP
    from ghostyolo.evaluation.intervals import RESAMPLES
    from ghostyolo.evaluation.validation import THRESH
    from ghostyolo.exporters.formats import usual_suffixes
    from ghostyolo.jobs.compare import LEAST_RESAMPLES, PROJECT
    from ghostyolo.model.detector import NMS

    p.description = f"{p.description}\n{ABOUT}"
    p.usage = "%(prog)s [options] RUN RUN ...\n   or: %(prog)s [options] RUN ... vs RUN ..."
    text = f"the folder of a training run, an exported {usual_suffixes(read=True)} file, or CFG "
    text += "WEIGHTS. Each is a side; with 'vs' between the sides, a side is several trainings "
    text += "that differ in their seed"
    p.group("model").add_argument("models", metavar="RUN", nargs="+", help=text)
    group = p.group("data")
    group.add_argument("--data", help=f"{DATA_HELP} (that of the runs)")
    group.add_argument("--split", help="part of DATA (that of the runs; with --data: val)")
    shared.add_names(p, "data", "those of DATA")
    shared.add_reading(p)
    shared.add_limit(p, "data", LIMIT_HELP)
    shared.add_thresholds(p, THRESH, NMS)
    model_argument.add_runtime(p)
    least = shared.number(int, LEAST_RESAMPLES, 1e6, f"a whole number from {LEAST_RESAMPLES}")
    text = f"draws of pictures for the intervals ({RESAMPLES})"
    p.group("intervals").add_argument("--resamples", type=least, default=RESAMPLES, help=text)
    shared.add_json(p)
    text = f"page with plots and the pictures that differ most (in a new folder of {PROJECT})"
    p.group("output").add_argument("--out", metavar="FILE.html", default="auto", help=text)
    shared.add_quiet(p)


def run(args: argparse.Namespace) -> None:
    """Compare detectors on the same pictures."""
    from ghostyolo.jobs.compare import compare

    names = (
        "data", "split", "names", "thresh", "nms", "allow_outside", "no_cache", "limit", "runtime",
        "batch", "threads", "device", "resamples", "out",
    )  # fmt: skip
    model_argument.show_preparation(args)
    with shared.progress(args, "compare", "picture") as on_progress:
        result = compare(
            *sides(args.models),
            **{name: getattr(args, name) for name in names},
            command=("ghostyolo", *args.words),
            on_progress=on_progress,
        )
    runtimes = [runtime for side in result.sides for runtime in side.runtimes]
    model_argument.print_runtime(args, ", ".join(dict.fromkeys(runtimes)))
    if args.json:
        shared.say(shared.json_text({**result.as_dict(), "page": str(result.page)}))
    else:
        shared.say(result.table(), keep="\n")
        shared.say(f"page: {result.page}")


def sides(words: list[str]) -> list[Any]:
    """Return the models of each side; (model, weights) where a .weights file follows a model."""
    found: list[list[Any]] = [[]]
    for word in words:
        last = found[-1][-1:]
        if word == VERSUS:
            found.append([])
        elif word.endswith(".weights") and last and isinstance(last[0], str):
            found[-1][-1] = (last[0], word)
        else:
            found[-1].append(word)
    return found if len(found) > 1 else [[model] for model in found[0]]
