"""A user's program from data to an exported file: it is run, and type-checked as users do."""

from pathlib import Path

import numpy as np
from PIL import Image

import ghostyolo

run = ghostyolo.train("my.cfg", "DATA", epochs=2, batch=3, workers=0, device="cpu")
scores: dict[str, float] = ghostyolo.val(run.folder, "DATA", split="test").scores
model = ghostyolo.Model(run.folder)
found: ghostyolo.Detections = model.detect("dog.jpg", thresh=0.001)
for each in found[found.scores > 0.01]:
    left, top, right, bottom = each.box
    assert left <= right and top <= bottom, each.name.upper()
first: ghostyolo.Detection = found[0]
drawn: np.ndarray = found.draw("boxes.png")
pictures: list[str | Path] = ["dog.jpg", Path("dog.jpg")]
several: list[ghostyolo.Detections] = model.detect(pictures, batch=2)
frames = model.detect((drawn for _ in range(2)), nms=0.5)
names: list[str] = next(frames).names
count: int = len(model.detect(Image.open("dog.jpg"), thresh=0.001))
file: Path = ghostyolo.export(model, "mine.onnx", decode=True).files[0]
network: ghostyolo.Network = ghostyolo.load("my.cfg")
fitted: ghostyolo.Network = ghostyolo.network_for("DATA", width=0.1, size=(64, 64))
try:
    ghostyolo.open_dataset("DATA", "nosuch")
except ghostyolo.GhostyoloError as error:
    hint: str = error.diagnostic.hint
