"""The record beside a reconstruction: what it rests on, as JSON that can be given to another one."""

import json
from pathlib import Path

from pipelines.own_files.outputs import is_record
from sim_models.config import BadInput, Settings, parse
from sim_models.field import Camera, FrameOrder, Microscope
from sim_models.optics.estimate import Estimate
from sim_models.optics.reconstruct import ReconstructionSettings


class TransferRecord(Settings):
    """Mean over all directions of a transfer function."""

    frequency_per_um: tuple[float, ...]
    value: tuple[float, ...]


class Record(Settings):
    """What a reconstruction rests on; stands beside the image as JSON, and can be given to another one."""

    made_by: str
    files: tuple[str, ...]
    data_sha256: str
    """of the raw values as they were read"""
    angles: int
    phases: int
    order: FrameOrder
    microscope: Microscope
    offset_counts: tuple[float, ...]
    """(A,) taken off"""
    settings: ReconstructionSettings
    stripes_of: str
    """the record they were taken from, or `these frames`"""
    estimate: Estimate
    """of the mean of all stacks, or of the first one where each has its own"""
    later: tuple[Estimate, ...]
    """of the second stack and those after it, where each has its own; else none"""
    transfer: TransferRecord
    consistency_camera: Camera
    """that the frames were compared with, per photo-electron; its read noise and `electrons_per_unit` are fitted to the
    noise of the frames where they were not stated"""
    electrons_per_unit: float
    """photo-electrons for a count above the offset; 1 where the frames are in photo-electrons"""
    consistency_chi2: float
    """of the first stack: chi-squared over its expectation"""
    consistency_flagged_percent: float
    """of the first stack: share of the image that its own raw frames contradict"""
    warnings: tuple[str, ...]


def read_record(path: Path) -> Record:
    """Read the record of an earlier reconstruction.

    Raises:
        BadInput: if there is none.
    """
    if not path.exists():
        raise BadInput(f"{path}: does not exist; give the JSON that stands beside a reconstructed image")
    if not is_record(path):
        raise BadInput(
            f"{path}: is no record of a reconstruction; give the JSON that stands beside a reconstructed image"
        )
    return parse(Record, json.loads(path.read_text()), str(path))
