"""Datasets on disk: one file per layout, each with `Settings` and `write_toy`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from sim_models.config import Settings
from sim_models.field import Field


class LayoutSettings(Settings, ABC):
    """A folder of fields in the layout `name`, which is the name of its file in this package.

    Beside its `Settings(LayoutSettings)`, every layout has `write_toy(folder)`, which writes two tiny
    cells in its own true dialect, so that no test needs a download.
    """

    name: str
    folder: Path

    @abstractmethod
    def fields(self) -> Iterator[Field]:
        """Every field in a fixed order, read from disk one at a time and checked.

        Raises:
            BadInput: if the folder holds no field, or a field cannot be used.
        """
