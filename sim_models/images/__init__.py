"""Images in and out: a file of any usual format, a folder of frames or an OME-Zarr becomes one `ImageFile`.

One file per format. Readers check what they read, since a damaged file that is read in part looks like data.
"""

from pathlib import Path

from sim_models.images.file import ImageFile
from sim_models.images.folder import (
    ends_with_mean,
    holds_frames,
    image_paths,
    is_mean_of,
    natural,
    read_folder,
)
from sim_models.images.formats import read_file
from sim_models.images.names import ENDINGS, stem
from sim_models.images.ome import write_ome
from sim_models.images.ome_zarr import looks_like_zarr, read_zarr

__all__ = [
    "ENDINGS",
    "ImageFile",
    "ends_with_mean",
    "holds_frames",
    "image_paths",
    "is_mean_of",
    "looks_like_zarr",
    "natural",
    "read",
    "stem",
    "write_ome",
]


def read(path: Path) -> ImageFile:
    """Read an image, a stack, an OME-Zarr, or a folder with one file per frame.

    Values come in native byte order and with the shape they are stored in; the frames of a folder are
    stacked in the natural order of their names, without a last one that is the mean of the others.

    Raises:
        BadInput: if a file is missing, empty, truncated, damaged or of an unknown format, if its
            header announces far more data than it can hold, or if the files of a folder are not
            single images of one size.
    """
    if path.is_dir():
        return read_zarr(path) if looks_like_zarr(path) else read_folder(path)
    return read_file(path)
