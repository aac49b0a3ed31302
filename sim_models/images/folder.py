"""A folder with one file per frame, as many cameras and published datasets leave them."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim_models.config import BadInput
from sim_models.images.file import ImageFile
from sim_models.images.formats import read_file

SUFFIXES = (".tif", ".tiff", ".png", ".mrc", ".dv")
"""what else lies in such a folder, a licence for example, is passed over"""


def read_folder(folder: Path) -> ImageFile:
    """All images of a folder, in the natural order of their names (2 before 10), as one stack (I, Y, X).

    A last image that is the mean of the others is no frame: it is left out, and a warning says so.

    Raises:
        BadInput: if there is no image, one cannot be read, or they are not single images of one size.
    """
    paths = image_paths(folder)
    if not paths:
        raise BadInput(f"{folder}: holds no image ({', '.join(SUFFIXES)}); give a file or a folder of frames")
    files = [read_file(path) for path in paths]
    for path, file in zip(paths, files, strict=True):
        if file.data.shape != files[0].data.shape or file.axes != "YX":
            raise BadInput(
                f"{path}: has axes {file.axes} and shape {file.data.shape}; in a folder of frames every file "
                f"holds one image of the same size ({paths[0].name} has {files[0].data.shape})"
            )
    told = list(dict.fromkeys(warning for file in files for warning in file.warnings))
    data = np.stack([file.data for file in files])
    if ends_with_mean(data):
        told.append(
            f"{paths[-1].name}, the last of {len(paths)} images, is the mean of the others and left out"
        )
        data, paths = data[:-1], paths[:-1]
    return replace(
        files[0],
        data=data,
        axes="IYX",
        format=f"folder of {len(paths)} x {files[0].format}",
        warnings=tuple(told),
        paths=tuple(paths),
    )


def image_paths(folder: Path) -> list[Path]:
    """The images that lie directly in a folder, in the natural order of their names."""
    return sorted((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES), key=natural)


def holds_frames(folder: Path) -> bool:
    """Whether a folder holds one file per frame, rather than stacks or folders; its first image tells."""
    paths = image_paths(folder)
    try:
        return bool(paths) and read_file(paths[0]).axes == "YX"
    except BadInput:
        return False


def ends_with_mean(images: NDArray[Any]) -> bool:
    """Whether the last of several images (F, Y, X) is the mean of the others, up to rounding."""
    return len(images) >= 3 and is_mean_of(images[-1], images[:-1])


def is_mean_of(image: NDArray[Any], frames: NDArray[Any]) -> bool:
    """Whether an image (Y, X) is the mean of frames (F, Y, X) that are not all copies of it, up to rounding."""
    if np.array_equal(frames[0], image):
        return False
    with np.errstate(invalid="ignore"):  # infinite values make no mean; who uses the frames refuses them
        rounding = 1.0 if np.issubdtype(image.dtype, np.integer) else 1e-4 * float(frames.std())
        return bool(np.abs(image - frames.mean(axis=0)).max() < rounding)


def natural(path: Path) -> list[tuple[int, str]]:
    """Key that sorts names as people number them: 2 before 10."""
    return [(int(digits or 0), text) for digits, text in re.findall(r"(\d+)|(\D+)", path.name)]
