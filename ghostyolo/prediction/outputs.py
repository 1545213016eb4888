"""Which files a detection job writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ghostyolo.files import make_empty_folder, make_new_folder
from ghostyolo.prediction import writers
from ghostyolo.prediction.predict import Row
from ghostyolo.prediction.writers import AddRow


@dataclass(frozen=True)
class Outputs:
    """The output files of a job; None where no such file is written.

    folder: of annotated pictures and videos and of detections.json. numbered: whether that folder
    gets a number if it exists, so that it is new each time. json: a file, or an open stream, of a
    list of rows. jsonl: likewise, of a line of JSON for each picture. csv: a table with a line for
    each detection. coco: a file in COCO's format of results. voc: the folder of VOC's files. yolo:
    the folder of YOLO labels with scores.

    Files are replaced. Folders must be new or empty, so that a job leaves earlier results alone.
    """

    folder: str | Path | None = None
    numbered: bool = False
    json: str | Path | BinaryIO | None = None
    jsonl: str | Path | BinaryIO | None = None
    csv: str | Path | None = None
    coco: str | Path | None = None
    voc: str | Path | None = None
    yolo: str | Path | None = None

    @contextmanager
    def writing(self, folder: Path | None, names: Sequence[str], classes: int) -> Iterator[AddRow]:
        """Yield a function that adds a row to each file that holds the rows of all sources.

        folder: of annotated pictures; None without. Files are opened for the first row, so that an
        error before it replaces none, and the folder has no list without rows.
        """
        added = list[AddRow]()

        def add(row: Row) -> None:
            if not added:
                added.extend(map(stack.enter_context, self._writers(folder, names, classes)))
            for each in added:
                each(row)

        with ExitStack() as stack:
            yield add
            if not added:
                for each in self._writers(None, names, classes):
                    stack.enter_context(each)

    def _writers(
        self, folder: Path | None, names: Sequence[str], classes: int
    ) -> Iterator[AbstractContextManager[AddRow]]:
        if self.json is not None:
            yield writers.json_list(self.json)
        if self.jsonl is not None:
            yield writers.json_lines(self.jsonl)
        if folder is not None:
            yield writers.json_list(folder / "detections.json", indent=1)
        if self.csv is not None:
            yield writers.csv_table(Path(self.csv))
        if self.coco is not None:
            yield writers.coco_results(Path(self.coco), classes)
        if self.voc is not None:
            yield writers.voc_files(Path(self.voc), names, classes)

    def make_folders(self) -> tuple[Path | None, Path | None]:
        """Make all folders; return those of annotated pictures and of YOLO labels."""
        if self.voc is not None:
            make_empty_folder(self.voc)
        labels = None if self.yolo is None else make_empty_folder(self.yolo)
        make = make_new_folder if self.numbered else make_empty_folder
        return None if self.folder is None else make(self.folder), labels
