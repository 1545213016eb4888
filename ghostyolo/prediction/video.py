"""Video files of annotated frames, and a window that shows pictures."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ghostyolo.errors import OptionError, Span

CODEC = "mp4v"
MOST_TICKS = 65535  # of a second in MPEG-4, by which OpenCV writes the frame rate as a fraction
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")  # environment variables that name the display
STOP = (ord("q"), 27)  # the keys that close a window; 27 is Escape


class VideoWriter:
    """A video file, written beside `path` and renamed to it by `close`."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self._beside = path.with_name(f"{path.stem}.part{path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._frames = 0

    def add(self, image: np.ndarray) -> None:
        """Append a frame, uint8 RGB (H, W, 3) of the first frame's size. Raises `OptionError`."""
        h, w = image.shape[:2]
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*CODEC)
            fps = round(self.fps, int(math.log10(MOST_TICKS / max(self.fps, 1))))
            self._writer = cv2.VideoWriter(str(self._beside), code, fps, (w, h))
            if not self._writer.isOpened():
                hint = "give a folder that can be written"
                raise OptionError("cannot write the video", span=Span(str(self.path)), hint=hint)
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Complete the file and rename it to its path.

        OpenCV does not tell that a disk is full, so the frames of the file are counted. Raises
        `OptionError` if some are missing; the file is deleted then.
        """
        if self._writer is None:
            return
        self._writer.release()
        written = int(cv2.VideoCapture(str(self._beside)).get(cv2.CAP_PROP_FRAME_COUNT))
        if written < self._frames:
            self._beside.unlink(missing_ok=True)
            message = f"cannot write the video: {max(written, 0)} of {self._frames} frames"
            raise OptionError(message, span=Span(str(self.path)), hint="free some space")
        os.replace(self._beside, self.path)


def window(title: str) -> Callable[[np.ndarray, bool], bool]:
    """Return a function that shows a picture in a window, and returns whether to continue.

    Its second argument: whether the picture stays until a key is pressed.
    Raises `OptionError` without a display, or with an OpenCV that was built without windows.
    """
    hint = "leave --show out; the annotated pictures are written anyway"
    if sys.platform.startswith("linux") and not any(map(os.environ.get, DISPLAYS)):
        raise OptionError("--show: there is no display", hint=hint)
    try:
        cv2.namedWindow(title, cv2.WINDOW_NORMAL)
    except cv2.error:
        hint = f"install opencv-python in place of the headless package, or {hint}"
        raise OptionError("--show: this OpenCV has no windows", hint=hint) from None

    def show(image: np.ndarray, still: bool) -> bool:
        cv2.imshow(title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1)
        while still and key < 0 and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1:
            key = cv2.waitKey(50)
        return key not in STOP

    return show
