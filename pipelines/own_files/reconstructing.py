"""Classical SIM of a person's own raw stacks: what `sim-models reconstruct` does."""

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from pipelines.own_files.outputs import MADE_BY, beside
from pipelines.own_files.records import Record, TransferRecord, read_record
from pipelines.own_files.stacks import (
    Stated,
    above_offset,
    layout_of,
    microscope_of,
    refuse_scale,
    refuse_unusable,
    stacks_of,
)
from sim_models.config import BadInput
from sim_models.evaluation.consistency import percent
from sim_models.evaluation.sheets import TRANSFER_BINS, Sheet, save_sheet
from sim_models.field import Camera, FrameOrder, Image, Microscope
from sim_models.images import ImageFile, read, write_ome
from sim_models.inspection.light import measure_noise
from sim_models.optics.consistency import Consistency, check_consistency
from sim_models.optics.estimate import (
    Estimate,
    NoPattern,
    estimate,
    refuse_other_stripes,
    usual_harmonics,
)
from sim_models.optics.noise import fading, frame_noise
from sim_models.optics.reconstruct import DEFAULT, SCALE, ReconstructionSettings, Reconstructor, Transfer
from sim_models.sources.checks import CopiedFrames, repeated_frames

MOST_FLAGGED_PERCENT, HIGHEST_CHI2 = 1.0, 1.5
"""of an image against its frames, beyond which a warning is due"""

SAME = 1e-3
"""share by which apertures, wavelengths and pixels may differ and still count as the same"""


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
        """Refuse what contradicts itself, no microscope can have, or cannot be read.

        Raises:
            BadInput: if there is such a thing.
        """
        stated, most = self.stated, 1e6
        ranges = {
            "--pixel-um": (stated.pixel_um, 0, 100), "--na": (stated.numerical_aperture, 0, 2),
            "--emission-um": (stated.emission_um, 0.1, 3), "--gain": (stated.gain, 0, most),
            "--offset": (stated.offset, -most, most), "--read-noise": (stated.read_noise, -most, most),
            "--angles": (self.angles, 0, 100), "--phases": (self.phases, 2, 100), "--harmonics": (self.harmonics, 0, 3),
            "--strength": (self.settings.strength, 0, most),
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
        if self.harmonics is not None and self.stripes is not None:
            wrong.append("--harmonics and --stripes exclude each other: known stripes have their harmonics")
        if wrong:
            raise BadInput("; ".join(wrong))
        for record in self.records:
            read_record(record)

    @property
    def records(self) -> list[Path]:
        """The records that are read."""
        return [record for record in (self.start, self.stripes) if record is not None]


@dataclass(frozen=True)
class Reconstruction:
    """What was written, and what the person should know about it."""

    path: Path
    shape: tuple[int, ...]
    pixel_um: float
    sentence: str
    warnings: tuple[str, ...]


def reconstruct_file(path: Path, out: Path, options: Options) -> Reconstruction:
    """Reconstruct every stack in a file or folder of frames; write the image, its record and, if asked, its sheet.

    Raises:
        BadInput: if the frames cannot be reconstructed; then nothing is written.
    """
    file = read(path)
    layout = layout_of(file, options.angles, options.phases, path)
    counts = stacks_of(file, layout, options.order, path, "these options ask for stacks of")
    refuse_unusable(counts, path)
    like = read_record(options.records[0]).microscope if options.records else None
    microscope = microscope_of(file, options.stated, path, like)
    refuse_scale(microscope, (counts.shape[-2], counts.shape[-1]), path)
    stacks, offsets = above_offset(counts, microscope.camera, options.stated.offset, path)
    frames = torch.as_tensor(stacks)
    with _told_of(path), _order_told(options.order):
        found = _stripes(frames, microscope, options)
        images, transfer = _images(frames, microscope, found, options.settings)
    unit, camera = _electrons(counts[0], frames[0], microscope)
    first = _consistency(unit, camera, frames[0], images[0], microscope, found[0])
    warnings = (
        *_warnings(file, found, options.settings),
        *_contradictions(first, found[0], options.settings),
    )
    record = Record(
        made_by=f"{MADE_BY} {version('sim-models')}",
        files=tuple(source.name for source in file.paths),
        data_sha256=hashlib.sha256(np.ascontiguousarray(counts).data).hexdigest(),
        angles=layout[0],
        phases=layout[1],
        order=options.order,
        microscope=microscope,
        offset_counts=tuple(offsets),
        settings=options.settings,
        stripes_of=options.stripes.name if options.stripes else "these frames",
        estimate=found[0],
        later=tuple(found[1:]),
        transfer=_transfer_record(transfer),
        consistency_camera=camera,
        electrons_per_unit=unit,
        consistency_chi2=first.chi2_reduced,
        consistency_flagged_percent=100 * float(first.flagged.float().mean()),
        warnings=warnings,
    )
    about = Sheet(
        f"{path.absolute().name}, classical SIM", frames[0].mean(dim=(0, 1)).numpy(), images[0].numpy(), microscope,
        found[0], transfer, first, warnings,
    )  # fmt: skip
    _write(out, images, record, about if options.sheet else None)
    shape = images.shape[1:] if len(images) == 1 else images.shape
    sentence = _sentence(record, "image" if len(images) == 1 else "first image")
    return Reconstruction(out, tuple(shape), microscope.pixel_um / SCALE, sentence, warnings)


def reconstructions(
    counts: Image, microscope: Microscope, offset: float | None, path: Path
) -> tuple[Estimate, Image]:
    """Stripes and classical SIM (T, 2 Y, 2 X) of raw stacks (T, A, P, Y, X), for models whose input it is.

    In photo-electrons where `microscope` has a camera, else in counts above the offset; with everything as usual, and
    stripes of the mean of all stacks.

    Raises:
        BadInput: if the frames cannot be reconstructed.
    """
    options = Options(
        DEFAULT, Stated(None, None, None, offset, None, None), None, None, FrameOrder.ANGLE_MAJOR, None, None, None,
        each=False, sheet=False,
    )  # fmt: skip
    refuse_scale(microscope, (counts.shape[-2], counts.shape[-1]), path)
    frames = torch.as_tensor(above_offset(counts, microscope.camera, offset, path)[0])
    with _told_of(path):
        found = _stripes(frames, microscope, options)
        images: Image = _images(frames, microscope, found, DEFAULT)[0].numpy()
    return found[0], images


def check_of(
    counts: Image, frames: Image, microscope: Microscope, found: Estimate
) -> Callable[[Image], Consistency]:
    """How any image (2 Y, 2 X) of a stack is held against its frames (A, P, Y, X), gain and offset being free.

    `frames` are the values that the camera gave, `counts`, above its offset.
    """
    stack = torch.as_tensor(np.asarray(frames, np.float32))
    unit, camera = _electrons(counts, stack, microscope)
    seen = microscope.model_copy(update={"camera": camera})

    def check(image: Image) -> Consistency:
        restored = torch.as_tensor(np.asarray(image, np.float32))
        return check_consistency(
            restored * unit, stack * unit, seen, found.illumination, found.otf, fit_scale=True,
            hazy_per_um=found.hazy_per_um,
        )  # fmt: skip

    return check


@contextmanager
def _told_of(what: Path | str) -> Iterator[None]:
    """Refusals of the optics do not know the file; here they learn it."""
    try:
        yield
    except CopiedFrames as refusal:
        raise CopiedFrames(f"{what}: {refusal}") from None
    except BadInput as refusal:
        raise BadInput(f"{what}: {refusal}") from None


@contextmanager
def _order_told(order: FrameOrder) -> Iterator[None]:
    """Refusals of the optics do not know what a person said of the order."""
    try:
        yield
    except NoPattern as refusal:
        if not refusal.phase_by_phase:
            raise
        other = "give --order phase-major"
        if order is FrameOrder.PHASE_MAJOR:
            other = "they run angle by angle, so leave out --order phase-major"
        raise BadInput(f"{refusal}: {other}") from None


def _stripes(frames: torch.Tensor, microscope: Microscope, options: Options) -> list[Estimate]:
    """The stripes of stacks (T, A, P, Y, X): one for all, as recorded or of their mean, or one for each."""
    if options.stripes is not None:
        known = _recorded(options.stripes, frames, microscope)
        refuse_repeated(frames.mean(dim=0))
        _refuse_others(frames, microscope, known, options.stripes.name, "look near them with --start")
        return [known]
    start = None
    if options.start is not None:
        start = [(angle.angle_rad, angle.spacing_um) for angle in read_record(options.start).estimate.angles]
    harmonics = options.harmonics or usual_harmonics(frames.shape[2])

    def estimated(stack: torch.Tensor) -> Estimate:
        refuse_repeated(stack)
        return estimate(stack, microscope, harmonics, start=start)

    if len(frames) == 1:
        return [estimated(frames[0])]
    if options.each:
        found = []
        for number, stack in enumerate(frames, start=1):
            with _told_of(f"stack {number} of {len(frames)}"):
                found.append(estimated(stack))
        return found
    try:
        mean = estimated(frames.mean(dim=0))
    except NoPattern as refusal:
        if refusal.phase_by_phase:
            raise
        raise BadInput(
            f"in the mean of {len(frames)} stacks: {refusal}; if stripes move from stack to stack, try --each"
        ) from None
    _refuse_others(
        frames, microscope, mean, "the mean of all stacks", "where they move from stack to stack, try --each"
    )
    return [_of_many(mean, len(frames))]


def _refuse_others(
    frames: torch.Tensor, microscope: Microscope, known: Estimate, whose: str, advice: str
) -> None:
    """Refuse stacks (T, A, P, Y, X) of which one has its stripes elsewhere than known ones."""
    for number, stack in enumerate(frames, start=1):
        try:
            refuse_other_stripes(stack, microscope, known, whose)
        except NoPattern as refusal:
            which = f"stack {number} of {len(frames)}: " if len(frames) > 1 else ""
            raise BadInput(f"{which}{refusal}; check the frame order; {advice}") from None


def refuse_repeated(stack: torch.Tensor) -> None:
    """Refuse copies of one frame in a stack (A, P, Y, X): noise alone makes real ones differ."""
    phases = stack.shape[1]
    if repeated := repeated_frames(stack.flatten(0, 1).numpy()):
        places = (f"angle {frame // phases + 1}, phase {frame % phases + 1}" for frame in repeated[0])
        raise CopiedFrames(
            f"the frames of {' and '.join(places)} are identical; a raw stack has one exposure for each"
        )


def _recorded(path: Path, frames: torch.Tensor, microscope: Microscope) -> Estimate:
    """The stripes of a record, for stacks (T, A, P, Y, X) taken like those it was made of."""
    known = read_record(path)
    if (known.angles, known.phases) != tuple(frames.shape[1:3]):
        raise BadInput(
            f"{path.name} holds stripes of {known.angles} angles x {known.phases} phases, but the stack "
            f"has {frames.shape[1]} x {frames.shape[2]}"
        )
    optics = {
        name: (getattr(known.microscope, name), getattr(microscope, name))
        for name in ("pixel_um", "numerical_aperture", "emission_um")
    }
    other = [
        f"{name} {theirs:g} instead of {ours:g}"
        for name, (theirs, ours) in optics.items()
        if not math.isclose(theirs, ours, rel_tol=SAME)
    ]
    if other:
        raise BadInput(
            f"{path.name} holds stripes of other optics ({', '.join(other)}); look near them with --start"
        )
    return known.estimate


def _of_many(found: Estimate, stacks: int) -> Estimate:
    """Noise of a single stack, where that of a mean was measured."""
    return replace(found, noise_variance=tuple(stacks * each for each in found.noise_variance))


def _images(
    frames: torch.Tensor, microscope: Microscope, found: Sequence[Estimate], settings: ReconstructionSettings
) -> tuple[torch.Tensor, Transfer]:
    """Images (T, 2 Y, 2 X) of stacks (T, A, P, Y, X), and the transfer function of the first."""

    def reconstructor(stack: torch.Tensor, stripes: Estimate) -> Reconstructor:
        return Reconstructor(stack, microscope, stripes.illumination, settings, stripes.otf, stripes.haze)

    first = reconstructor(frames[0], found[0])
    images = [first(frames[0])]
    for number, stack in enumerate(frames[1:], start=1):
        its_own = first if len(found) == 1 else reconstructor(stack, found[number])
        images.append(its_own(stack))
    return torch.stack(images), first.transfer


def _warnings(file: ImageFile, found: Sequence[Estimate], settings: ReconstructionSettings) -> Iterator[str]:
    yield from file.warnings
    for number, stripes in enumerate(found, start=1):
        yield from (f"stack {number}: {each}" if len(found) > 1 else each for each in stripes.warnings)
    if settings.look == "fairsim_like":
        yield (
            "the look of fairSIM weakens low frequencies and cuts off what is negative, so that the frames contradict "
            "most of the image; that says nothing about its structures"
        )


def _contradictions(found: Consistency, stripes: Estimate, settings: ReconstructionSettings) -> Iterator[str]:
    """What a person should know of a comparison that came out badly, unless there are other reasons for it."""
    if settings.look == "fairsim_like" or stripes.coloured:
        return
    flagged = 100 * float(found.flagged.float().mean())
    if flagged > MOST_FLAGGED_PERCENT or found.chi2_reduced > HIGHEST_CHI2:
        yield (
            f"the frames contradict {percent(flagged)} % of the image they were put together to, and differ from what "
            f"it would give by {found.chi2_reduced:.2f} times what noise allows: OTF, gain, read noise or stripes are "
            "not quite as believed, or the specimen moved; look at the map (--sheet)"
        )


def _consistency(
    unit: float,
    camera: Camera,
    frames: torch.Tensor,
    image: torch.Tensor,
    microscope: Microscope,
    found: Estimate,
) -> Consistency:
    """An image (2 Y, 2 X) against its frames (A, P, Y, X), in units of which one is `unit` photo-electrons."""
    seen = microscope.model_copy(update={"camera": camera})
    return check_consistency(
        image * unit, frames * unit, seen, found.illumination, found.otf, hazy_per_um=found.hazy_per_um
    )


def _electrons(counts: Image, frames: torch.Tensor, microscope: Microscope) -> tuple[float, Camera]:
    """Photo-electrons per unit of frames (A, P, Y, X), and a camera with the read noise they have.

    What is not stated the noise tells: the gain, where it grows with the light; the read noise, as what light leaves
    unexplained.
    """
    window = fading((frames.shape[-2], frames.shape[-1]))
    cutoff = microscope.cutoff_per_um * microscope.pixel_um
    mean = float(frames.mean())
    variance = float(frame_noise(frames, window, cutoff, microscope.camera).variance.mean())
    unit, read_noise = 1.0, 0.0
    if microscope.camera is not None:
        read_noise = microscope.camera.read_noise
    elif gain := _gain(counts):
        unit = 1 / gain
    elif variance > 0:
        unit = mean / variance
    if not read_noise:
        read_noise = math.sqrt(max(variance * unit**2 - mean * unit, 0.0))
    return unit, Camera(gain=1.0, offset=0.0, read_noise=read_noise)


def _gain(counts: Image) -> float | None:
    one_by_one = counts.reshape(-1, *counts.shape[-2:]).astype(np.float32)
    return measure_noise(one_by_one, bool(np.issubdtype(counts.dtype, np.integer))).gain


def _transfer_record(transfer: Transfer) -> TransferRecord:
    frequency, value = transfer.radial(TRANSFER_BINS)
    return TransferRecord(
        frequency_per_um=tuple(round(each, 6) for each in frequency.tolist()),
        value=tuple(round(each, 6) for each in value.tolist()),
    )


def _write(out: Path, images: torch.Tensor, record: Record, about: Sheet | None) -> None:
    """Everything in a folder of its own first; then the image takes its place last: where it is, all of it is."""
    data, axes = (images[0].numpy(), "YX") if len(images) == 1 else (images.numpy(), "TYX")
    facts = {"reconstructed_from": list(record.files), "record": beside(out, ".json").name}
    pixel_um, title = record.microscope.pixel_um / SCALE, f"{record.files[0]} classical SIM"
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as hidden:
        image = Path(hidden) / out.name
        write_ome(image, data, axes, pixel_um, facts, title)
        beside(image, ".json").write_text(record.model_dump_json(indent=2) + "\n")
        if about is not None:
            save_sheet(about, beside(image, ".png"))
            beside(image, ".png").replace(beside(out, ".png"))
        beside(image, ".json").replace(beside(out, ".json"))
        image.replace(out)


def _sentence(record: Record, image: str) -> str:
    stripes = ", ".join(
        f"{1000 * angle.spacing_um:.0f} nm at {np.degrees(angle.angle_rad) % 180:.1f} degrees "
        f"(modulation {' and '.join(f'{depth:.2f}' for depth in angle.modulation)}, score {angle.score:.0f})"
        for angle in record.estimate.angles
    )
    if record.estimate.coloured:
        return f"stripes {stripes}"
    contradicted = percent(record.consistency_flagged_percent)
    return f"stripes {stripes}; its own frames contradict {contradicted} % of the {image}"
