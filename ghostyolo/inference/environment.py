"""What a report about a run or a bug needs to know of this machine and what is installed on it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import ghostyolo
from ghostyolo.files import cache_folder
from ghostyolo.runtime.registry import RUNTIMES, distribution_version
from ghostyolo.runtime.threads import usable_processors

CPU_INFO = Path("/proc/cpuinfo")  # of Linux
DEVELOPERS = ("docs", "test")  # extras that users need not
_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*(?:;.*extra == \W(\w+))?")


def versions(device: str) -> dict[str, str]:
    """Return the versions of the libraries, the system and the device of a run, by name.

    device: as torch names it.
    """
    torch, cv2, numpy = map(import_module, ("torch", "cv2", "numpy"))
    kind = torch.device(device).type
    name = torch.cuda.get_device_name(device) if kind == "cuda" else platform.machine()
    return {
        "ghostyolo": ghostyolo.__version__,
        "Python": platform.python_version(),
        "PyTorch": str(torch.__version__),
        "OpenCV": str(cv2.__version__),
        "NumPy": numpy.__version__,
        "system": platform.platform(),
        "device": f"{device} ({name})",
        "threads": str(torch.get_num_threads()),
    }


def environment() -> dict[str, Any]:
    """Return what a report about a bug needs, by name; values are JSON.

    A library that cannot be loaded has the error as its value.
    """
    processor, avx512 = _processor()
    cache = cache_folder()
    return {
        "ghostyolo": ghostyolo.__version__,
        "folder": str(Path(ghostyolo.__file__).parent),
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "processor": processor,
        "avx512": avx512,
        "cores": {"usable": usable_processors(), "all": os.cpu_count()},
        "memory_bytes": _memory(),
        "torch": _facts("torch"),
        "opencv": _facts("cv2"),
        "packages": _packages(),
        "cache_folder": str(cache),
        "cache_bytes": sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()),
        "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
    }


def text(found: dict[str, Any]) -> str:
    """Return the result of `environment` as lines to read."""
    lines = []
    for key, value in found.items():
        if key == "packages":
            width = max([18, *map(len, value)])
            lines += [f"  {name:<{width}}  {version}" for name, version in value.items()]
            continue
        if key.endswith("_bytes") and value is not None:
            value = f"{value / 1e9:.2f} GB"
        elif isinstance(value, dict):
            value = ", ".join(f"{name} {fact}" for name, fact in value.items())
        lines.append(f"{key.removesuffix('_bytes').replace('_', ' '):<22}{value}")
    return "\n".join(lines)


def _processor() -> tuple[str, bool | None]:
    """Return the name of the processor, and whether it has AVX-512: None if that is unknown."""
    try:
        found = CPU_INFO.read_text()
    except OSError:
        return platform.processor() or platform.machine(), None
    name = re.search(r"^model name\s*: (.*)$", found, re.MULTILINE)
    return name[1] if name else platform.machine(), " avx512f " in found


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has none of these
        return None


def _facts(name: str) -> dict[str, Any] | str:
    """Return what the library itself says of its version and abilities, or why it cannot."""
    try:
        module = import_module(name)
        return _torch_facts(module) if name == "torch" else _opencv_facts(module)
    except Exception as error:  # a broken installation raises whatever it likes
        return f"cannot be loaded: {error}"


def _torch_facts(torch: Any) -> dict[str, Any]:
    devices = map(torch.cuda.get_device_name, range(torch.cuda.device_count()))
    return {
        "version": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "CUDA": torch.version.cuda or "none",
        "devices": ", ".join(devices) or "none",
    }


def _opencv_facts(cv2: Any) -> dict[str, Any]:
    build = dict(re.findall(r"^ +(GUI|FFMPEG): +(\w+)", cv2.getBuildInformation(), re.MULTILINE))
    windows, video = (build.get(name, "none") for name in ("GUI", "FFMPEG"))
    return {"version": str(cv2.__version__), "windows": windows, "FFMPEG": video}


def _packages() -> dict[str, str]:
    """Return the version of each package that ghostyolo requires or can use, or how to install it.

    Of packages that take each other's place, such as the builds of OpenCV, all installed ones.
    """
    try:
        required = metadata.requires("ghostyolo") or []
    except metadata.PackageNotFoundError:
        return {}  # it runs from its sources
    packages: dict[str, str] = {}
    for requirement in required:
        name, extra = _REQUIREMENT.match(requirement).groups()  # type: ignore[union-attr]
        if extra in DEVELOPERS or name in packages:
            continue
        builds = (entry.distributions for entry in RUNTIMES.values())
        same = next((names for names in builds if name in names), (name,))
        found = {each: version for each in same if (version := distribution_version(each))}
        source = f"'ghostyolo[{extra}]'" if extra else name
        packages |= found or {name: f"not installed (pip install {source})"}
    return packages
