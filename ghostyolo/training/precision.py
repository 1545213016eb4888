"""In which numbers the forward pass is computed; the loss always has float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ghostyolo.errors import OptionError

NAMES = ("auto", "off", "bf16", "fp16")
_FIRST_FP16 = (7, 0)  # compute capability of the first GPUs whose fp16 is faster: Volta


def dtype_of(name: str, device: str) -> torch.dtype | None:
    """Return the dtype of the forward pass, None for float32, by one of `NAMES`.

    auto: bf16, else fp16, on a GPU that has it in hardware; float32 elsewhere.
    Raises `OptionError` for a name that is none.
    """
    if name not in NAMES:
        raise OptionError(f"amp={name}", hint=f"use one of {', '.join(NAMES)}")
    if name != "auto":
        return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    if torch.device(device).type != "cuda":
        return None
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16 if torch.cuda.get_device_capability(device) >= _FIRST_FP16 else None


def forward(dtype: torch.dtype | None, device: str) -> AbstractContextManager[None]:
    """Return the context of a forward pass."""
    if dtype is None:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype)


def scaler(dtype: torch.dtype | None, device: str) -> torch.amp.GradScaler:
    """Return what keeps small gradients from vanishing in fp16; it does nothing for the others."""
    return torch.amp.GradScaler(torch.device(device).type, enabled=dtype == torch.float16)
