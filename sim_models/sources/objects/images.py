"""Real super-resolved images as objects: a folder of PNG or TIFF files, one per cell."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat
from scipy.ndimage import affine_transform, gaussian_filter

from sim_models.config import BadInput
from sim_models.images import ImageFile, natural, read
from sim_models.sources.drawing import chance
from sim_models.sources.objects import ObjectSettings

_SUFFIXES = (".png", ".tif", ".tiff")


class Settings(ObjectSettings):
    """Where the images are, how fine they are and what of their light is background."""

    name: Literal["images"]
    folder: Path
    """one grayscale image per cell, in the natural order of their names: 2 before 10"""
    pixel_um: PositiveFloat
    """edge of their pixels in the specimen"""
    background_percentile: float = Field(ge=0, lt=100)
    """the value at this percentile of an image is its zero; what is darker becomes zero too"""

    def files(self) -> list[Path]:
        """The image files, in natural order.

        Raises:
            BadInput: if the folder is missing.
        """
        if not self.folder.is_dir():
            raise BadInput(f"{self.folder}: no such folder of object images; correct `folder` of the objects")
        found = [path for path in self.folder.iterdir() if path.suffix.lower() in _SUFFIXES]
        return sorted(found, key=natural)

    def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
        """Fluorophore density (Y, X) of one cell: image number `cell`, a part of it placed by chance.

        Raises:
            BadInput: if there are fewer images than cells, or the image cannot serve as an object.
        """
        files = self.files()
        if cell >= len(files):
            raise BadInput(
                f"{self.folder}: holds {len(files)} images (PNG or TIFF), but cell number {cell + 1} was "
                "asked for; lower the number of cells or add images"
            )
        image = _grayscale(read(files[cell]), files[cell])
        density = np.clip(image - np.percentile(image, self.background_percentile), 0, None)
        part = self._part(density, files[cell], shape, pixel_um, chance(self.name, cell, seed))
        return torch.from_numpy(part)

    def _part(
        self,
        image: NDArray[np.float32],
        path: Path,
        shape: tuple[int, int],
        pixel_um: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """A random part (Y, X) of an image, interpolated to the grid that was asked for."""
        ratio = pixel_um / self.pixel_um
        room_px = np.array(image.shape) - np.array(shape) * ratio
        if room_px.min() < 0:
            needed = " x ".join(str(int(np.ceil(size * ratio))) for size in shape)
            raise BadInput(
                f"{path}: {image.shape[0]} x {image.shape[1]} pixels are too few, the field with its margin "
                f"needs {needed} at {self.pixel_um} um; lower field_px or give larger images"
            )
        corner_px = rng.uniform(0, room_px)
        smooth = gaussian_filter(image, max(0.0, (ratio - 1) / 2))
        first_centre = corner_px + 0.5 * ratio - 0.5
        fine = affine_transform(smooth, [ratio, ratio], first_centre, shape, order=3, mode="mirror")
        return np.asarray(np.clip(fine, 0, None), np.float32)


def _grayscale(file: ImageFile, path: Path) -> NDArray[np.float32]:
    """The one plane of a file; colour channels must be alike, alpha is ignored."""
    data = file.data
    if file.axes.endswith("S"):
        colours = data[..., : 3 if data.shape[-1] >= 3 else 1]
        if (colours != colours[..., :1]).any():
            raise BadInput(f"{path}: is a colour image; save it as grayscale, brightness being fluorescence")
        data = colours[..., 0]
    if data.squeeze().ndim != 2:
        raise BadInput(
            f"{path}: has axes {file.axes} and shape {file.data.shape}, an object must be one plane; "
            "save a single image per file"
        )
    plane = data.squeeze().astype(np.float32)
    if not np.isfinite(plane).all():
        raise BadInput(f"{path}: contains NaN or infinite values; replace or crop them")
    if plane.min() == plane.max():
        raise BadInput(f"{path}: every pixel has the value {plane.flat[0]:g}; an object needs some structure")
    return plane
