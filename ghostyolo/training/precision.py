"""Mixed precision: the dtype of the forward pass. The loss is always computed in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

_FIRST_FP16 = (7, 0)  # compute capability of Volta, the first GPUs with faster fp16


def dtype_of(name: str, device: str) -> torch.dtype | None:
    """Return the dtype of the forward pass, None for float32, by one of the names in `options.AMP`.

    auto: bf16 on a GPU that has it in hardware, else fp16 on a GPU that has it, else float32.
    """
    if name != "auto":
        return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    if torch.device(device).type != "cuda":
        return None
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16 if torch.cuda.get_device_capability(device) >= _FIRST_FP16 else None


def forward(dtype: torch.dtype | None, device: str) -> AbstractContextManager[None]:
    """Return a context in which the forward pass is computed in the given dtype."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype) if dtype else nullcontext()


def scaler(dtype: torch.dtype | None, device: str) -> torch.amp.GradScaler:
    """Return the gradient scaler, enabled for fp16 only, in which small gradients underflow."""
    return torch.amp.GradScaler(torch.device(device).type, enabled=dtype == torch.float16)
