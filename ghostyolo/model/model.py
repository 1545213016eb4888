"""A network as a torch module that computes what Darknet computes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ghostyolo.data.images import read_image
from ghostyolo.layers import Head, Layer, LayerError
from ghostyolo.layers.yolo import Yolo
from ghostyolo.model import compute, weights
from ghostyolo.model.classifier import Classifier
from ghostyolo.model.detections import Detections
from ghostyolo.model.detector import Detector
from ghostyolo.network import Network, Node, load, outputs
from ghostyolo.network.outputs import detection_heads

PRIOR = 0.01  # initial objectness; Lin et al., Focal Loss, ICCV 2017, section 4.1


class Model(nn.Module):
    """A detector or classifier. Its input is (N, C, H, W), for pictures RGB in [0, 1].

    Height and width may differ from `[net]` if all layers support it. Tensors are named
    `layers.INDEX.NAME`, where INDEX is the index of the layer in the cfg.
    """

    def __init__(self, network: Network | str | Path, file: str | Path | None = None) -> None:
        """Build the modules of a network or of a cfg file, and load a `.weights` file if given.

        Raises `CfgError`, and `WeightsError` if the file does not fit the network.
        """
        super().__init__()
        self.network = network if isinstance(network, Network) else load(network)
        outputs.check_same_classes(self.network)
        stored = weights.opened(file, self.network) if file else None
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

    def _module(self, node: Node, layer: Layer, *, initialise: bool) -> nn.Module:
        shapes = self.network.input_shapes(node)
        try:
            layer.check_inference()
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
        """Compute all nodes and return the outputs of those in `keep`.

        Other outputs are freed after their last use.
        """
        steps = compute.calls(self.network, self.layers, training=self.training)
        kept: dict[int, Tensor] = {}
        for _, held in compute.run(steps, x, keep):
            kept = held
        return {index: kept[index] for index in keep}

    def detector(self, **options: Any) -> Detector:
        """Return a `Detector` of this model, with its options."""
        return Detector(self.network, self._outputs, **options)

    def classifier(self) -> Classifier:
        """Return a `Classifier` of this model. Raises `CfgError` for a detector."""
        return Classifier(self.network, self._outputs)

    def detect(self, image: str | Path | np.ndarray, **options: Any) -> Detections:
        """Return the detections in one picture, a file or uint8 RGB (H, W, 3).

        Raises `DataError` for a file that is not a picture, `CfgError` for a network without heads.
        """
        if not isinstance(image, np.ndarray):
            image = read_image(image)
        return self.detector(**options)([image])[0]

    def classify(self, image: str | Path | np.ndarray) -> np.ndarray:
        """Return the class probabilities, (K,), of one picture, a file or uint8 RGB (H, W, 3).

        Raises `DataError` for a file that is not a picture, `CfgError` for a detector.
        """
        if not isinstance(image, np.ndarray):
            image = read_image(image)
        return self.classifier()([image])[0]

    def _outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the outputs for (N, 3, h, w) arrays, computed in inference mode."""
        training = self.training
        try:
            self.eval()
            with torch.inference_mode():
                x = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
                return [output.float().cpu().numpy() for output in self(x)]
        finally:
            self.train(training)

    def tensors(self) -> list[dict[str, Tensor]]:
        """Return each node's tensors by the names that `Layer.weights` uses."""
        return [
            {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
            for layer in self.layers
        ]

    def load_weights(self, path: str | Path) -> None:
        """Load a `.weights` file. Raises `WeightsError`, with nothing changed, if that fails."""
        self.seen = weights.read(path, self.network, self.tensors()).seen

    def save_weights(self, path: str | Path, cutoff: int | None = None) -> None:
        """Write a `.weights` file, of the layers below `cutoff` if given.

        Raises `WeightsError` when the file cannot be written.
        """
        seen = self.seen if cutoff is None else 0
        weights.write(path, self.network, self.tensors(), seen=seen, cutoff=cutoff)


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
