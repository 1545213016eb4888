"""Read lists of pictures, and find the files that their entries and other paths name."""

from __future__ import annotations

import logging
import os
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path

from ghostyolo.data import sources
from ghostyolo.errors import DataError, Span

# Pictures that OpenCV may be unable to read are included, so that they are counted as unreadable.
SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff",
    ".webp", ".gif", ".avif", ".heic", ".heif",
}  # fmt: skip
STRAY = ("../", "data/")  # first folders of paths that may not exist
UTF16 = (BOM_UTF16_LE, BOM_UTF16_BE)

logger = logging.getLogger(__name__)


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Read the lines of a text file, without surrounding blanks.

    Bytes that are not UTF-8 are kept, so that a list may name any file. Raises DataError if the
    file cannot be read.
    """
    try:
        content = sources.read(path)
    except OSError as error:
        raise cannot_read(path, error) from error
    if content[:2] in UTF16:
        text = content.decode("utf-16", "replace")
    else:
        text = content.decode("utf-8-sig", "surrogateescape")
    return [line.strip() for line in StringIO(text, newline=None)]


def read_text(path: str | os.PathLike[str], most: int) -> str:
    """Return the text of a file that describes data, and log a warning if it is not UTF-8.

    most: bytes. Raises DataError if the file cannot be read.
    """
    try:
        text, encoding = decode(sources.read(path, most))
    except OSError as error:
        raise cannot_read(path, error) from error
    if encoding != "utf-8":
        message = "%s: is not UTF-8, read as %s; save it as UTF-8"
        sources.warn(logger, message, path, encoding)
    return text


def decode(content: bytes) -> tuple[str, str]:
    """Return text that is UTF-8 or another encoding, and the name of the encoding.

    Text that is not UTF-8 is read as UTF-16 if it has that mark, as GB2312 if that fits, as old
    tools in China write, else as Latin-1, which fits everything.
    """
    if content[:2] in UTF16:
        return content.decode("utf-16", "replace"), "utf-16"
    for encoding in ("utf-8-sig", "gb2312"):
        try:
            return content.decode(encoding), encoding.removesuffix("-sig")
        except UnicodeDecodeError:
            pass
    return content.decode("latin-1"), "latin-1"


def cannot_read(path: str | os.PathLike[str], error: OSError, what: str = "it") -> DataError:
    """Return the error for a file that cannot be read."""
    message = f"cannot read {what}: {(error.strerror or str(error)).lower()}"
    return DataError(message, span=Span(str(path)), hint="check the path")


def locate(entry: str, folders: Iterable[Path]) -> str:
    """Return the path of an entry in the first folder that has it, else in the first folder.

    Entries may have Windows' separators. Roboflow writes ../train/images for train/images, and CVAT
    data/obj.names for obj.names: if a path does not exist, it is sought without that first folder.
    """
    entry, folders = entry.replace("\\", "/"), tuple(folders)
    wanted = [entry, entry.partition("/")[2]] if entry.startswith(STRAY) else [entry]
    paths = (str(folder / each) for each in wanted for folder in folders)  # made when sought
    return next(filter(sources.exists, paths), "") or str(folders[0] / entry)


def image_ids(paths: Sequence[str]) -> list[str]:
    """Return an id for each picture: its file name without suffix, or its path if names repeat."""
    stems = [Path(path).stem for path in paths]
    times = Counter(stems)
    return [stem if times[stem] == 1 else path for stem, path in zip(stems, paths, strict=True)]


def read_list(path: str, folders: Iterable[Path]) -> list[str]:
    """Return the paths of pictures that a text file lists, one per line, sought beside it first."""
    folders = (Path(path).parent, *folders)
    return [locate(line, folders) for line in read_lines(path) if line]


def swap_folder(path: str, old: str, new: str) -> str:
    """Replace the last folder named `old` in a path; return the path unchanged if there is none."""
    head, found, tail = f"/{Path(path).as_posix()}".rpartition(f"/{old}/")
    return f"{head}/{new}/{tail}"[1:] if found else path


def pictures_below(folder: Path) -> list[str]:
    """Return the pictures in a folder and its subfolders, sorted by path."""
    return sorted(p for p in sources.below(folder) if os.path.splitext(p)[1].lower() in SUFFIXES)


def subfolders(path: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, sorted by name; [] if it is no folder."""
    return [each for each in sources.entries(path) if each.is_dir() and each.name[0] != "."]
