"""How image files are named."""

from pathlib import Path

ENDINGS = (
    ".ome.tiff", ".ome.tif", ".tiff", ".tif", ".mrc", ".dv", ".png", ".ome.zarr", ".zarr",
)  # fmt: skip
"""of image files; what stands before is the name of a stack"""


def stem(path: Path) -> str:
    """The name of a stack, in a file or a folder, without the ending of an image file."""
    name = path.name if path.name not in ("", "..") else path.resolve().name
    for ending in ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name
