"""The numbers of a data set as aligned text, with a column for each split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ghostyolo.data.summary import MEDIUM, SMALL, SplitSummary, Summary

SIZES_SHOWN = 3  # of pictures


def lines(found: Summary) -> list[str]:
    """Return all that is printed of a data set."""
    count = len(found.names)
    text = [f"{found.path}: {count} class{'es' * (count != 1)}"]
    for split, parts in found.unions.items():
        text.append(f"{split} is {' and '.join(parts)} together, and not counted again")
    text += ["", *table(found.splits), ""]
    text += [f"warning: {line}" for line in found.warnings]
    if found.anchors:
        sides = ",".join(f"{side:g}" for pair in found.anchors["anchors"] for side in pair)
        size, mean = found.anchors["size"], found.anchors["mean_iou"]
        text += [
            f"anchors for a new cfg (gencfg) of {size}x{size}, with a mean best IoU of {mean:.3f} "
            f"in {found.anchors['split']}:",
            f"  --anchors {sides}",
            "those of a cfg at hand: ghostyolo anchors DATA CFG",
        ]
    return text


def table(rows: Sequence[SplitSummary]) -> list[str]:
    """Return the numbers of splits as lines."""
    sizes: Counter[tuple[int, int]] = Counter()
    for row in rows:
        sizes.update(row.sizes)
    common = [size for size, _ in sizes.most_common(SIZES_SHOWN)]
    defects = sorted({defect for row in rows for defect in row.defects})
    columns = [_column(row, common, defects) for row in rows]
    names = [name for name, _ in columns[0]]
    cells = [names, *([text for _, text in column] for column in columns)]
    widths = [max(map(len, column)) for column in cells]
    aligned = [
        "  ".join((name.ljust(widths[0]), *map(str.rjust, texts, widths[1:])))
        for name, *texts in zip(*cells, strict=True)
    ]
    if any(row.ignored for row in rows):
        return aligned
    return [line for line in aligned if not line.startswith("  not counted")]


def _column(
    row: SplitSummary, sizes: Sequence[tuple[int, int]], defects: Sequence[str]
) -> list[tuple[str, str]]:
    """Return the names and numbers of a split, from top to bottom."""
    boxes = sum(row.boxes)
    areas = [f"{area / boxes:.1%}" if boxes else "-" for area in row.areas]
    low, _, median, _, high = (f"{side:.3f}" for side in row.sides) if row.sides else "-----"
    classes = zip(row.names, row.boxes, row.shown, strict=True)
    return [
        ("", row.split),
        ("pictures", f"{row.pictures:,}"),
        ("  without boxes", f"{row.empty:,}"),
        ("boxes (pictures with them)", f"{boxes:,}"),
        *((f"  {name}", f"{count:,} ({shown:,})") for name, count, shown in classes),
        ("  not counted (difficult)", f"{row.ignored:,}"),
        ("boxes a picture, median", f"{row.crowd[1]:g}"),
        ("  least to most", f"{row.crowd[0]} to {row.crowd[2]}"),
        (f"small, under {SMALL}x{SMALL} pixels", areas[0]),
        (f"medium, under {MEDIUM}x{MEDIUM}", areas[1]),
        ("large", areas[2]),
        ("box side over picture's, median", median),
        ("  1 % are under", low),
        ("  1 % are over", high),
        ("sizes of pictures", f"{len(row.sizes):,}"),
        *((f"  {w}x{h}", f"{row.sizes.get((h, w), 0):,}") for h, w in sizes),
        *((f"mended or left out: {d}", f"{row.defects.get(d, 0):,}") for d in defects),
    ]
