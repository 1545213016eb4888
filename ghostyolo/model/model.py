"""A network as a torch module that computes what Darknet computes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ghostyolo.data.any_picture import Picture, as_rgb, is_many
from ghostyolo.data.class_names import checked_names, names_beside
from ghostyolo.data.prefetch import batches
from ghostyolo.data.tiles import Tiles
from ghostyolo.distributed import pick_device
from ghostyolo.errors import OptionError
from ghostyolo.layers import Head, Layer, LayerError
from ghostyolo.layers.yolo import Yolo
from ghostyolo.model import compute
from ghostyolo.model import weights as weights_file
from ghostyolo.model.classifier import Classifier
from ghostyolo.model.detections import Detections
from ghostyolo.model.detector import Detector
from ghostyolo.model.out_of_memory import told
from ghostyolo.network import Network, Node, load, outputs
from ghostyolo.network.model_files import model_files
from ghostyolo.network.outputs import detection_heads

PRIOR = 0.01  # initial objectness; Lin et al., Focal Loss, ICCV 2017, section 4.1


class Model(nn.Module):
    """A detector or classifier, ready for inference; a training loop calls `model.train()` first.

    As a module it takes (N, C, H, W), for pictures RGB in [0, 1], and returns the outputs of
    `output_indices`, in Darknet's layout. Height and width may differ from `[net]` if all layers
    support it. Tensors are named `layers.INDEX.NAME`, where INDEX is the index of the layer in the
    cfg.

    network: the graph that it computes. layers: a module for each node; print them to see the
    modules. seen: the number of pictures that the weights were trained on.

    >>> model = ghostyolo.Model("my.cfg", "my.weights")
    >>> model.detect("dog.jpg", thresh=0.9)
    no detections
    """

    def __init__(self, network: Network | str | Path, weights: str | Path | None = None) -> None:
        """Build the modules of a network, and load a `.weights` file if given.

        network: also a cfg file, the name of a published cfg, or the folder of a training run,
        whose best weights are loaded. Without a file the weights are random.

        Raises `CfgError`, and `WeightsError` if the file does not fit the network.
        """
        super().__init__()
        if not isinstance(network, Network):
            network, weights = model_files(network, weights)
            network = load(network)
        self.network = network
        outputs.check_same_classes(network)
        stored = weights_file.opened(weights, self.network) if weights else None
        held = {node.index for node, _, _ in stored.items} if stored else set()
        self.layers = nn.ModuleList(
            self._module(node, layer, initialise=node.index not in held)
            for node, layer in zip(self.network, self.network.computed_layers(), strict=True)
        )
        self.seen = 0  # pictures trained on, as the header of a .weights counts them
        for node in self.network:
            if node.shares_with is not None:
                self.layers[node.index].share(self.layers[node.shares_with])  # type: ignore[operator]
        if stored:
            stored.fill(self.tensors())
            self.seen = stored.header.seen
        self._names: Sequence[str] = names_beside(self.network, weights) if weights else ()
        self.eval()

    def __repr__(self) -> str:
        return f"model of {self.network!r}, on {self.device}"

    def _module(self, node: Node, layer: Layer, *, initialise: bool) -> nn.Module:
        shapes = self.network.input_shapes(node)
        try:
            layer.check_inference(*shapes)
            with nullcontext() if initialise else _Uninitialised():
                module = layer.module(*shapes)
            _check_tensors(module, {name for name, _ in layer.weights(*shapes)})
            return module
        except LayerError as error:
            raise node.error(error) from None

    def initialise_heads(self) -> None:
        """Initialise the heads to an objectness of `PRIOR` everywhere, and equal class scores."""
        for node, head in self.heads:
            conv = getattr(self.layers[node.inputs[0]], "conv", None)
            if isinstance(head, Yolo) and isinstance(conv, nn.Conv2d) and conv.bias is not None:
                nn.init.normal_(conv.weight, std=0.01)
                bias = conv.bias.detach().view(len(head.mask), -1)
                bias.zero_()
                bias[:, 4] = -math.log((1 - PRIOR) / PRIOR)

    @property
    def names(self) -> Sequence[str]:
        """Return the class names, () if they are not known; those in a file beside the weights.

        Set them as a sequence, or as the path of a file with one name a line. Raises `OptionError`
        unless there is one for each class.
        """
        return self._names

    @names.setter
    def names(self, names: Sequence[str]) -> None:
        given = names if isinstance(names, str | Path) else tuple(names)
        self._names = checked_names(self.network, given) if given else ()

    @property
    def device(self) -> torch.device:
        """Return the device of the parameters, the CPU if there are none."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    @property
    def heads(self) -> list[tuple[Node, Head]]:
        """Return the nodes of the detection heads, with their layers."""
        return detection_heads(self.network)

    @property
    def output_indices(self) -> list[int]:
        """Return the indices of the network's outputs: all heads, else the last node but losses."""
        return [node.index for node in outputs.output_nodes(self.network)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of `output_indices`, in Darknet's layout."""
        kept = self.run(x, frozenset(self.output_indices))
        return [kept[index] for index in self.output_indices]

    def trace(self, x: Tensor) -> list[Tensor]:
        """Return the output of every node in inference, in Darknet's layout."""
        with self._inference():
            kept = self.run(x, frozenset(range(len(self.network))))
        return [kept[node.index] for node in self.network]

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """Compute in inference mode; return to the mode before it at the end."""
        training = self.training
        try:
            self.eval()
            with torch.inference_mode():
                yield
        finally:
            self.train(training)

    def run(self, x: Tensor, keep: frozenset[int]) -> dict[int, Tensor]:
        """Return the outputs of the nodes in `keep`; others are freed after their last use.

        Nodes at the end that nothing is kept of are left out, such as a head when its input is
        kept, unless they have statistics.
        """
        steps = compute.calls(self.network, self.layers, training=self.training)
        needed = self._needed(keep)
        steps = [call for call in steps if call.node in needed]
        kept: dict[int, Tensor] = {}
        for _, held in compute.run(steps, x, keep):
            kept = held
        return {index: kept[index] for index in keep}

    def _needed(self, keep: frozenset[int]) -> set[int]:
        """Return the nodes with an effect on the outputs in `keep`, on statistics or on chance."""
        needed = set(keep)
        for node in reversed(self.network.nodes):
            layer = self.layers[node.index]
            if node.index in needed or node.layer.in_place or any(True for _ in layer.buffers()):
                needed.update((node.index, *node.inputs))
        return needed

    def detector(self, **options: Any) -> Detector:
        """Return a `Detector` of this model, with its options."""
        return Detector(self.network, self._outputs, **options)

    def classifier(self) -> Classifier:
        """Return a `Classifier` of this model. Raises `CfgError` for a detector."""
        return Classifier(self.network, self._outputs)

    @overload
    def detect(  # type: ignore[overload-overlap]
        self, picture: Picture, *, thresh: float = ..., nms: float = ...,
        tiles: Tiles | None = ..., batch: int = ..., device: str = ...,
    ) -> Detections: ...  # fmt: skip

    @overload
    def detect(
        self, picture: Iterator[Picture], *, thresh: float = ..., nms: float = ...,
        tiles: Tiles | None = ..., batch: int = ..., device: str = ...,
    ) -> Iterator[Detections]: ...  # fmt: skip

    @overload
    def detect(
        self, picture: Sequence[Picture], *, thresh: float = ..., nms: float = ...,
        tiles: Tiles | None = ..., batch: int = ..., device: str = ...,
    ) -> list[Detections]: ...  # fmt: skip

    def detect(
        self,
        picture: Any,
        *,
        thresh: float | None = None,
        nms: float | None = None,
        tiles: Tiles | None = None,
        batch: int = 1,
        device: str | None = None,
    ) -> Any:
        """Detect in one picture, which gives `Detections`, or in several.

        picture: a path, a uint8 array (H, W, 3) in the order RGB, RGBA or grey, or a PIL picture.
        A list or tuple of pictures gives a list of detections, a generator gives an iterator, which
        takes the next pictures when they are needed. thresh: the confidence threshold (0.25). nms:
        the IoU threshold of non-maximum suppression (0.45). tiles: how large pictures are divided.
        batch: pictures computed at once. device: move the model there first: "cpu", "cuda:1" ...

        Raises `DataError` with the remedy for what is no such picture, which names its index if
        there are several and its path if it has one, `OptionError` for a number out of range,
        `CfgError` for a network without heads.
        """
        if batch < 1:
            raise OptionError(f"batch={batch}", hint="give 1 or more")
        if device is not None:
            self.to(pick_device(device))
        detector = self.detector(thresh=thresh, nms=nms, tiles=tiles)
        if not is_many(picture):
            return next(self._detections(detector, [(None, picture)], 1))
        found = self._detections(detector, enumerate(picture), batch)
        return found if isinstance(picture, Iterator) else list(found)

    def _detections(
        self, detector: Detector, pictures: Iterable[tuple[int | None, Any]], batch: int
    ) -> Iterator[Detections]:
        """Yield the detections in each picture, with a picture file's path or else the picture.

        pictures: each with its index, None for a single one.
        """
        for some in batches(pictures, batch):
            images = [as_rgb(each, index) for index, each in some]
            with told(batch=len(images), size=self.network.options.size):
                results = detector(images)
            for (_, given), image, found in zip(some, images, results, strict=True):
                kept = given if isinstance(given, str | Path) else image
                yield replace(found, class_names=self.names, picture=kept)

    def classify(self, picture: Picture) -> np.ndarray:
        """Return the class probabilities, (K,), of one picture, which `detect` would take too.

        Raises `DataError` for what is no such picture, `CfgError` for a detector.
        """
        return self.classifier()([as_rgb(picture)])[0]

    def _outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the outputs for (N, 3, h, w) arrays, computed in inference mode."""
        with self._inference():
            x = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
            return [output.float().cpu().numpy() for output in self(x)]

    def tensors(self) -> list[dict[str, Tensor]]:
        """Return each node's tensors by the names that `Layer.weights` uses."""
        return [
            {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
            for layer in self.layers
        ]

    def load_weights(self, path: str | Path) -> None:
        """Load a `.weights` file, and the class names in a .names file beside it.

        Raises `WeightsError`, with nothing changed, if that fails.
        """
        self.seen = weights_file.read(path, self.network, self.tensors()).seen
        self._names = names_beside(self.network, path) or self._names

    def save_weights(self, path: str | Path, cutoff: int | None = None) -> None:
        """Write a `.weights` file, of the layers below `cutoff` if given.

        Raises `WeightsError` when the file cannot be written.
        """
        seen = self.seen if cutoff is None else 0
        weights_file.write(path, self.network, self.tensors(), seen=seen, cutoff=cutoff)


def _check_tensors(module: nn.Module, stored: set[str]) -> None:
    """Raise `LayerError` unless the tensors of a module have the names that are stored."""
    named = (*module.named_parameters(), *module.named_buffers())
    if odd := stored ^ {name for name, _ in named if not name.endswith("num_batches_tracked")}:
        message = f"its module and its `weights` differ in {', '.join(sorted(odd))}"
        raise LayerError(message, "name every tensor of the module in `weights`")


class _Uninitialised(TorchFunctionMode):
    """Do not initialise weights, for modules whose weights are read from a file.

    Initialising the 64 million weights of YOLOv4 takes ten times as long as reading them.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in (nn.init.uniform_, nn.init.kaiming_uniform_):
            return kwargs.get("tensor", *args[:1])
        return function(*args, **kwargs)
