"""Objects to be imaged: one file per simulated structure, and real super-resolved images as a sibling."""

from abc import abstractmethod

import torch

from sim_models.config import Settings


class ObjectSettings(Settings):
    """What every kind of object has in common: a name, which is its file's, and how to draw a cell."""

    name: str

    @abstractmethod
    def draw(self, cell: int, shape: tuple[int, int], pixel_um: float, seed: int) -> torch.Tensor:
        """Fluorophore density (Y, X) of one cell, float32, not negative, in arbitrary units.

        The same cell and seed give the same tensor; other cells look different. Structures run on
        beyond the border of the grid.
        """
