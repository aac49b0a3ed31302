"""Classical SIM of a person's own raw stacks: what `sim-models reconstruct` does."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from pipelines.stacks import Stated, above_offset, layout_of, microscope_of, refuse_unusable, stacks_of
from pipelines.stage import write_whole
from sim_models.config import BadInput, Settings, parse
from sim_models.evaluation.sheets import TRANSFER_BINS, Sheet, save_sheet
from sim_models.field import Camera, FrameOrder, Microscope
from sim_models.images import read, write_ome
from sim_models.optics.consistency import Consistency, check_consistency
from sim_models.optics.estimate import Estimate, NoPattern, estimate, usual_harmonics
from sim_models.optics.reconstruct import SCALE, ReconstructionSettings, Reconstructor, Transfer

SUFFIX = "_sim.ome.tif"
"""what is put behind the name of a raw stack where a folder is to be written into"""


@dataclass(frozen=True)
class Options:
    """What a person asks for beyond the files."""

    settings: ReconstructionSettings
    stated: Stated
    angles: int | None
    phases: int | None
    order: FrameOrder
    harmonics: int | None
    start: Path | None
    """record whose stripes are a start"""
    stripes: Path | None
    """record whose stripes are taken as they are"""
    each: bool
    """whether the stripes of every stack of a series are estimated, rather than those of their mean"""
    sheet: bool

    def refuse_nonsense(self) -> None:
        """Refuse what contradicts itself or no microscope can have.

        Raises:
            BadInput: if there is such a thing.
        """
        stated = self.stated
        ranges = {
            "--pixel-um": (stated.pixel_um, 0, 100), "--na": (stated.numerical_aperture, 0, 2),
            "--emission-um": (stated.emission_um, 0.1, 3), "--gain": (stated.gain, 0, 1e6),
            "--angles": (self.angles, 0, 100), "--phases": (self.phases, 2, 100), "--harmonics": (self.harmonics, 0, 3),
        }  # fmt: skip
        wrong = [
            f"{name} {value:g} must be above {low:g} and below {high:g}"
            for name, (value, low, high) in ranges.items()
            if value is not None and not low < value < high
        ]
        if self.start is not None and self.stripes is not None:
            wrong.append(
                "--start and --stripes exclude each other: look near stripes, or take them as they are"
            )
        if self.each and self.stripes is not None:
            wrong.append(
                "--each and --stripes exclude each other: estimate every stack, or take known stripes"
            )
        if wrong:
            raise BadInput("; ".join(wrong))


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
    transfer: TransferRecord
    consistency_chi2: float
    """of the first stack: chi-squared over its expectation"""
    consistency_flagged_percent: float
    """of the first stack: share of the image that its own raw frames contradict"""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Reconstruction:
    """What was written, and what the person should know about it."""

    path: Path
    shape: tuple[int, ...]
    pixel_um: float
    sentence: str
    warnings: tuple[str, ...]


def outputs(files: Sequence[Path], out: Path) -> list[Path]:
    """Where the image of each file goes: `out` itself, or a folder of that name for several.

    Raises:
        BadInput: if nothing can be written there, or an input would be overwritten.
    """
    if out.name.lower().endswith((".tif", ".tiff")):
        if len(files) > 1:
            raise BadInput(f"{out}: is one image, but {len(files)} stacks are given; name a folder")
        targets = [out]
    else:
        targets = [out / f"{file.name.split('.')[0] or file.name}{SUFFIX}" for file in files]
    doubled = {target for target in targets if targets.count(target) > 1}
    if doubled:
        raise BadInput(
            f"{min(doubled)}: would be written by several stacks of the same name; do them one by one"
        )
    for file, target in zip(files, targets, strict=True):
        if target.resolve() == file.resolve():
            raise BadInput(f"{target}: is the raw stack itself; choose another name for the output")
        if file.is_dir() and target.parent.resolve() == file.resolve():
            raise BadInput(
                f"{target}: lies among the raw frames and would pass for one; choose another folder"
            )
    _refuse_place(targets[0].parent)
    return targets


def _refuse_place(folder: Path) -> None:
    standing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        raise BadInput(f"{standing}: is no folder you may write to; choose another place for the output")


def reconstruct_file(path: Path, out: Path, options: Options) -> Reconstruction:
    """Reconstruct every stack in a file or folder of frames; write the image, its record and, if asked, its sheet.

    Raises:
        BadInput: if the frames cannot be reconstructed; then nothing is written.
    """
    file = read(path)
    layout = layout_of(file, options.angles, options.phases, path)
    counts = stacks_of(file, layout, options.order, path, "these options ask for stacks of")
    refuse_unusable(counts, path)
    microscope = microscope_of(file, options.stated, path)
    stacks, offsets = above_offset(counts, microscope.camera, options.stated.offset)
    frames = torch.as_tensor(stacks)
    with _told_of(path):
        found = _stripes(frames, microscope, options)
        images, transfer = _images(frames, microscope, found, options)
    first = _consistency(frames[0], images[0], microscope, found)
    warnings = (*file.warnings, *found.warnings)
    record = Record(
        made_by=f"sim-models {version('sim-models')}",
        files=tuple(source.name for source in file.paths),
        data_sha256=hashlib.sha256(np.ascontiguousarray(counts).data).hexdigest(),
        angles=layout[0],
        phases=layout[1],
        order=options.order,
        microscope=microscope,
        offset_counts=tuple(offsets),
        settings=options.settings,
        stripes_of=options.stripes.name if options.stripes else "these frames",
        estimate=found,
        transfer=_transfer_record(transfer),
        consistency_chi2=first.chi2_reduced,
        consistency_flagged_percent=100 * float(first.flagged.float().mean()),
        warnings=warnings,
    )
    about = Sheet(
        f"{path.absolute().name}, classical SIM", frames[0].mean(dim=(0, 1)).numpy(), images[0].numpy(), microscope,
        found, transfer, first, warnings,
    )  # fmt: skip
    _write(out, images, record, about if options.sheet else None)
    shape = images.shape[1:] if len(images) == 1 else images.shape
    return Reconstruction(out, tuple(shape), microscope.pixel_um / SCALE, _sentence(record), warnings)


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Refusals of the optics do not know the file; here they learn it."""
    try:
        yield
    except BadInput as refusal:
        raise BadInput(f"{path}: {refusal}") from None


def _stripes(frames: torch.Tensor, microscope: Microscope, options: Options) -> Estimate:
    """The stripes of stacks (T, A, P, Y, X): as recorded, or of their mean, or of the first."""
    if options.stripes is not None:
        known = read_record(options.stripes)
        if (known.angles, known.phases) != tuple(frames.shape[1:3]):
            raise BadInput(
                f"{options.stripes.name} holds stripes of {known.angles} angles x {known.phases} phases, but the stack "
                f"has {frames.shape[1]} x {frames.shape[2]}"
            )
        return known.estimate
    harmonics = options.harmonics or usual_harmonics(frames.shape[2])
    start = None
    if options.start is not None:
        start = [(angle.angle_rad, angle.spacing_um) for angle in read_record(options.start).estimate.angles]
    looked_at = frames[0] if options.each else frames.mean(dim=0)
    try:
        return _of_many(
            estimate(looked_at, microscope, harmonics, start=start), 1 if options.each else len(frames)
        )
    except NoPattern as refusal:
        if len(frames) == 1 or options.each:
            raise
        raise BadInput(
            f"in the mean of {len(frames)} stacks: {refusal}; if stripes move from stack to stack, try --each"
        ) from None


def _of_many(found: Estimate, stacks: int) -> Estimate:
    """Noise of a single stack, where that of a mean was measured."""
    return replace(found, noise_variance=tuple(stacks * each for each in found.noise_variance))


def _images(
    frames: torch.Tensor, microscope: Microscope, found: Estimate, options: Options
) -> tuple[torch.Tensor, Transfer]:
    """Images (T, 2 Y, 2 X) of stacks (T, A, P, Y, X), and the transfer function of the first."""

    def reconstructor(stack: torch.Tensor, stripes: Estimate) -> Reconstructor:
        return Reconstructor(
            stack, microscope, stripes.illumination, options.settings, stripes.otf, stripes.haze
        )

    first = reconstructor(frames[0], found)
    images = [first(frames[0])]
    for number, stack in enumerate(frames[1:], start=2):
        if not options.each:
            images.append(first(stack))
            continue
        try:
            own = estimate(stack, microscope, len(found.angles[0].modulation))
        except NoPattern as refusal:
            raise BadInput(f"stack {number} of {len(frames)}: {refusal}") from None
        images.append(reconstructor(stack, own)(stack))
    return torch.stack(images), first.transfer


def _consistency(
    frames: torch.Tensor, image: torch.Tensor, microscope: Microscope, found: Estimate
) -> Consistency:
    """In photo-electrons: those of the camera, or those that the noise of the frames tells."""
    unit = found.electrons_per_count
    camera = microscope.camera or Camera(gain=1.0, offset=0.0, read_noise=0.0)
    seen = microscope.model_copy(update={"camera": camera})
    return check_consistency(
        image * unit, frames * unit, seen, found.illumination, found.otf, hazy_per_um=found.hazy_per_um
    )


def _transfer_record(transfer: Transfer) -> TransferRecord:
    frequency, value = transfer.radial(TRANSFER_BINS)
    return TransferRecord(
        frequency_per_um=tuple(round(each, 6) for each in frequency.tolist()),
        value=tuple(round(each, 6) for each in value.tolist()),
    )


def _write(out: Path, images: torch.Tensor, record: Record, about: Sheet | None) -> None:
    """The image last: where it is, all of it is."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if about is not None:
        partial = out.with_name(f".{out.name}.sheet.partial")
        save_sheet(about, partial)
        partial.replace(_beside(out, ".png"))
    write_whole(_beside(out, ".json"), record.model_dump_json(indent=2) + "\n")
    data, axes = (images[0].numpy(), "YX") if len(images) == 1 else (images.numpy(), "TYX")
    facts = {"reconstructed_from": list(record.files), "record": _beside(out, ".json").name}
    write_ome(out, data, axes, record.microscope.pixel_um / SCALE, facts, f"{record.files[0]} classical SIM")


def _beside(out: Path, suffix: str) -> Path:
    """The file of the same name with another ending."""
    stem = out.name
    for ending in (".ome.tiff", ".ome.tif", ".tiff", ".tif"):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    return out.with_name(f"{stem}{suffix}")


def _sentence(record: Record) -> str:
    stripes = ", ".join(
        f"{1000 * angle.spacing_um:.0f} nm at {np.degrees(angle.angle_rad):.1f} degrees "
        f"(modulation {' and '.join(f'{depth:.2f}' for depth in angle.modulation)}, score {angle.score:.0f})"
        for angle in record.estimate.angles
    )
    return f"stripes {stripes}; its own frames contradict {record.consistency_flagged_percent:.2g} % of the image"


def read_record(path: Path) -> Record:
    """Read the record of an earlier reconstruction.

    Raises:
        BadInput: if there is none.
    """
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError, UnicodeDecodeError):
        raise BadInput(
            f"{path}: is no record of a reconstruction; give the JSON that stands beside a reconstructed image"
        ) from None
    return parse(Record, values, str(path))
