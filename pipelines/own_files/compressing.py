"""Make a model smaller and faster and keep it only where it loses little: what `sim-models compress` does."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.own_files.inputs import fields_in
from pipelines.own_files.restoring import load
from pipelines.own_files.stacks import Stated
from sim_models.compression.gate import Limits, judged, milliseconds
from sim_models.compression.steps import Steps, compressed
from sim_models.config import BadInput, parse
from sim_models.evaluation.metrics import METRICS
from sim_models.field import FrameOrder, Image, Role
from sim_models.images import read
from sim_models.onnx_network import Compression, Judged, OnnxNetwork
from sim_models.restorer import GRAPH, SETTINGS, Restorer

AGAINST_REFERENCE, AGAINST_FLOAT = "psnr_targetrange_affine", "psnr_targetrange_noscale"
"""references may have a unit of their own, whose difference would hide any loss; both models share theirs"""

REPEATS = 7
"""of every time that is measured"""

FIXED: dict[str, Any] = {"tiles": 128, "tile_px": 64, "seed": 0}
"""how examples are taken from stacks"""

LEARNING: dict[str, Any] = {"batch": 4, "learning_rate": 2e-3, "seed": 0}
"""how a pruned network learns again"""


@dataclass(frozen=True)
class Options:
    """What a person asks for."""

    int8: bool
    float_edges: bool
    prune: float | None
    recover_steps: int
    max_loss_db: float
    min_fidelity_db: float
    order: FrameOrder
    stated: Stated
    tile_px: int

    @property
    def steps(self) -> Steps:
        """As settings.

        Raises:
            BadInput: if they make no sense.
        """
        if self.prune is not None and not 0 < self.prune < 1:
            raise BadInput(f"--prune {self.prune:g}: is a share of the channels, above 0 and below 1, as 0.3")
        int8 = {"float_edges": self.float_edges, "weight_bits_7": True}
        return parse(
            Steps,
            {
                "int8": int8 if self.int8 else None,
                "pruned_share": self.prune,
                "recovery": {"steps": self.recover_steps, **LEARNING},
                **FIXED,
            },
            "options",
        )

    @property
    def limits(self) -> Limits:
        """As settings.

        Raises:
            BadInput: if they make no sense.
        """
        limits = {"max_loss_db": self.max_loss_db, "min_fidelity_db": self.min_fidelity_db}
        return parse(Limits, limits, "options")


@dataclass(frozen=True)
class Size:
    """What a model takes."""

    megabytes: float
    parameters: int
    ms_per_megapixel: float
    """restored"""


@dataclass(frozen=True)
class Compressed:
    """What was written, and what it gains and loses."""

    path: Path
    before: Size
    after: Size
    judged: Judged
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "path": str(self.path),
            "before": asdict(self.before),
            "after": asdict(self.after),
            "judged": self.judged.model_dump(),
            "warnings": list(self.warnings),
        }

    def lines(self) -> list[str]:
        """For people."""
        before, after, found = self.before, self.after, self.judged
        value = "no difference" if found.value is None else f"{found.value:.2f} dB"
        said = (
            f"lost against references: {value} (at most {found.limit:g} may be)"
            if found.criterion == "loss_db"
            else f"PSNR against the float model: {value} (at least {found.limit:g} must be)"
        )
        return [
            str(self.path),
            f"  size        {before.megabytes:.2f} -> {after.megabytes:.2f} MB",
            f"  time        {before.ms_per_megapixel:.0f} -> {after.ms_per_megapixel:.0f} ms per megapixel restored",
            f"  parameters  {before.parameters} -> {after.parameters}",
            f"  {said}, on the worst of {found.stacks} stacks" + (" kept aside" if found.held_out else ""),
        ]


@dataclass(frozen=True)
class _Example:
    """The images of a field as a model takes them, and its reference if there is one."""

    file: Path
    images: Mapping[Role, Image]
    reference: Image | None


def compress(
    model: str, files: Sequence[Path], out: Path, references: Sequence[Path], options: Options
) -> Compressed:
    """Compress a model, judge it, and write it as a restorer's folder if it loses little enough.

    Args:
        model: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or the folder of a restorer.
        files: raw stacks to learn ranges from and to judge by.
        out: the folder to write.
        references: an image for every file, in the same order, or none at all.
        options: what is asked for.

    Raises:
        BadInput: if model, stacks and options do not fit, more is lost than may be, or nothing is gained.
    """
    steps, limits = options.steps, options.limits
    _refuse_output(out, model)
    restorer = load(model)
    examples = _examples(files, references, restorer, options)
    learning, judging, held_out = _split(examples)
    network = compressed(restorer, [each.images for each in learning], steps)
    smaller = replace(restorer, network=network)

    def restore(made: Restorer, images: Mapping[Role, Image]) -> Image:
        return made(images, options.tile_px)

    fields = [each.images for each in judging]
    before, after = ([restore(made, images) for images in fields] for made in (restorer, smaller))
    _refuse_references(judging, before)
    found = _judged(judging, before, after, limits, held_out)
    times = milliseconds(
        lambda images: restore(restorer, images),
        lambda images: restore(smaller, images),
        max(fields, key=lambda images: sum(image.size for image in images.values())),
        REPEATS,
    )
    before_size, after_size = (
        Size(_megabytes(made), made.network.num_parameters, time)
        for made, time in zip((restorer, smaller), times, strict=True)
    )
    _refuse_no_gain(before_size, after_size)
    compression = Compression(
        parent=restorer.weights_sha256,
        int8=options.int8,
        pruned_share=options.prune,
        recover_steps=options.recover_steps if options.prune is not None else 0,
        parameters=network.num_parameters,
        judged=found,
    )
    replace(smaller, compression=compression).save(out)
    doubts = tuple(_doubts(held_out, before_size, after_size))
    return Compressed(out, before_size, after_size, found, doubts)


def _examples(
    files: Sequence[Path], references: Sequence[Path], restorer: Restorer, options: Options
) -> list[_Example]:
    if references and len(references) != len(files):
        raise BadInput(
            f"{len(references)} references are given for {len(files)} files of stacks; give --references once for "
            "every file, in the same order, or not at all"
        )
    if len({file.resolve() for file in files}) < len(files):
        raise BadInput("a stack is given twice; what is judged by must not be what was learned from")
    images: Sequence[Path | None] = references or [None] * len(files)
    pairs = zip(files, images, strict=True)
    return [example for file, image in pairs for example in _examples_in(file, image, restorer, options)]


def _examples_in(path: Path, reference: Path | None, restorer: Restorer, options: Options) -> list[_Example]:
    """Every field in a file."""
    fields = fields_in(read(path), restorer, options.order, options.stated, path, stripes=False)
    if reference is None:
        return [_Example(path, each.images, None) for each in fields]
    images = np.asarray(read(reference).data)
    if not np.isfinite(images).all():
        raise BadInput(f"{reference}: holds values that are NaN or infinite; give another reference")
    if len(fields) == 1:
        return [_Example(path, fields[0].images, images)]
    if len(images) != len(fields):
        raise BadInput(
            f"{reference}: holds {len(images)} images for {len(fields)} stacks of {path}; give one for each"
        )
    return [_Example(path, each.images, image) for each, image in zip(fields, images, strict=True)]


def _refuse_references(judging: Sequence[_Example], restored: Sequence[Image]) -> None:
    for example, image in zip(judging, restored, strict=True):
        if example.reference is not None and example.reference.shape != image.shape:
            found, wanted = (" x ".join(map(str, each.shape)) for each in (example.reference, image))
            raise BadInput(
                f"the reference of {example.file} holds {found} values, but the model makes {wanted} of it; give an "
                "image of that size for every stack"
            )


def _split(examples: list[_Example]) -> tuple[list[_Example], list[_Example], bool]:
    """To learn from, to judge by, and whether these differ: every second file, or every second stack of the one."""
    files = list(dict.fromkeys(example.file for example in examples))
    if len(files) > 1:
        aside = set(files[1::2])
        return (
            [example for example in examples if example.file not in aside],
            [example for example in examples if example.file in aside],
            True,
        )
    if len(examples) > 1:
        return examples[::2], examples[1::2], True
    return examples, examples, False


def _judged(
    judging: Sequence[_Example], before: list[Image], after: list[Image], limits: Limits, held_out: bool
) -> Judged:
    references = [example.reference for example in judging if example.reference is not None]
    metric = METRICS[AGAINST_REFERENCE if references else AGAINST_FLOAT]
    return judged(
        before, after, references or None, lambda image, wanted: metric(image, wanted, 0), limits, held_out
    )


def _refuse_no_gain(before: Size, after: Size) -> None:
    if after.megabytes >= before.megabytes and after.ms_per_megapixel >= before.ms_per_megapixel:
        raise BadInput(
            f"the compressed model gains nothing: {before.megabytes:.2f} -> {after.megabytes:.2f} MB, and "
            f"{before.ms_per_megapixel:.0f} -> {after.ms_per_megapixel:.0f} ms per megapixel on this machine; nothing "
            "is written, stay with the float model or compress more"
        )


def _doubts(held_out: bool, before: Size, after: Size) -> list[str]:
    doubts = []
    if not held_out:
        doubts.append(
            "there is one stack only, so the model is judged by what its ranges were learned from; give more"
        )
    if after.ms_per_megapixel >= before.ms_per_megapixel:
        doubts.append("the compressed model is no faster on this machine; what it gains is size")
    if after.megabytes >= before.megabytes:
        doubts.append("the compressed model is no smaller; what it gains is speed on this machine")
    return doubts


def _megabytes(restorer: Restorer) -> float:
    if isinstance(restorer.network, OnnxNetwork):
        return len(restorer.network.content) / 1e6
    values = restorer.network.state_dict().values()
    return sum(int(value.numel()) * int(value.element_size()) for value in values) / 1e6


def _refuse_output(out: Path, model: str) -> None:
    if not model.startswith("models:/") and out.resolve() == Path(model).resolve():
        raise BadInput(f"{out}: is the model itself; choose another folder for the compressed one")
    if out.exists() and not ((out / SETTINGS).is_file() and (out / GRAPH).is_file()):
        raise BadInput(
            f"{out}: exists, and is no compressed model that could be replaced; choose another folder"
        )
    if not out.absolute().parent.is_dir():
        raise BadInput(f"{out.absolute().parent}: is no folder; make it first, or choose another place")
