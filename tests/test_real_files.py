"""Every set of real acquisitions is read as its SOURCES.md says. They are not shipped: without them, skipped."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sim_models.config import BadInput, parse
from sim_models.images import is_mean_of, read
from sim_models.sources.layouts.dlsim import Settings as DlSim
from sim_models.sources.listing import Listed
from sim_models.sources.raw import Declared, read_image, read_raw
from sim_models.sources.stripes import Grouping, groupings, stripe_strengths


@dataclass(frozen=True)
class Told:
    """What SOURCES.md says of a set, or what its header holds."""

    path: str
    format: str
    axes: str
    shape: tuple[int, ...]
    dtype: str
    pixel_um: float | None = None
    layout: tuple[int, int] | None = None
    """angles and phases, angle-major; None where there is no such layout"""
    time: str = "one"
    stripes: bool = True
    """whether they are strong enough to tell the order"""


SETS = [
    Told("bsim-mitochondria-hela/raw_images.tif", "ImageJ TIFF", "ZYX", (9, 120, 120), "float32", layout=(3, 3)),
    Told("bsim-mitochondria-hela/patterns.tif", "ImageJ TIFF", "ZYX", (9, 240, 240), "float32"),
    Told("bsim-mitochondria-hela/gain_map.tif", "ImageJ TIFF", "YX", (120, 120), "float32"),
    Told("bsim-linepairs-simulated/raw_images.tif", "ImageJ TIFF", "TYX", (9, 84, 84), "float32", layout=(3, 3)),
    Told("rdl-microtubules-tirf/MT.mrc", "MRC", "IYX", (9, 256, 256), "uint16", 0.0626, (3, 3), stripes=False),
    Told("rdl-microtubules-tirf/otf/TIRF488_cam1_0_z30_OTF2d.mrc", "MRC", "YX", (1, 257), "complex64", 0.0312),
    Told("dlsim-microtubules-low-high/HE_X2/Sample_1", "folder of 15 x ImageJ TIFF", "IYX", (15, 256, 256), "uint16",
         layout=(3, 5)),
    Told("dlsim-microtubules-low-high/LE_X2/Sample_1", "folder of 15 x ImageJ TIFF", "IYX", (15, 256, 256), "uint16",
         layout=(3, 5), stripes=False),
    Told("dlsim-microtubules-low-high/HER/Sample_1.tif", "ImageJ TIFF", "YX", (256, 256), "uint16", 0.03),
    Told("tsim-er/ER_1.tif", "ImageJ TIFF", "ZCYX", (3, 9, 112, 512), "uint16", layout=(3, 3), time="Z"),
    Told("tsim-er/ER_2.tif", "ImageJ TIFF", "ZCYX", (3, 9, 112, 512), "uint16", layout=(3, 3), time="Z"),
    Told("tsim-er/gt/ER_1_gt.tif", "ImageJ TIFF", "YX", (224, 1024), "uint16"),
    Told("hexsim-cell/SIMdata_2019-11-05_15-21-42.tiff", "TIFF", "IYX", (7, 512, 512), "uint16"),
    Told("spsim-particles", "folder of 9 x TIFF", "IYX", (9, 512, 512), "uint16", layout=(3, 3)),
    Told("cudasirecon-3dsim/raw.dv", "MRC", "IYX", (135, 64, 64), "float32", 0.08),
    Told("cudasirecon-3dsim/raw.tif", "ImageJ TIFF", "ZYX", (135, 64, 64), "float32", 0.08),
    Told("d2sim-beads-lattice/sample_bead.tif", "TIFF", "IYX", (25, 284, 284), "uint16"),
    Told("reference-reconstructions/srmsim/488-actin/WF.tif", "TIFF", "YX", (1024, 1024), "uint16"),
    Told("reference-reconstructions/tsim-actin/Actin_1_gt.tif", "ImageJ TIFF", "YX", (512, 1024), "uint16"),
    Told("phantoms-reconstructed-structures/er/1.png", "PNG", "YX", (480, 480), "uint8"),
]  # fmt: skip


def present(folder: Path, name: str) -> Path:
    if not (folder / name).exists():
        pytest.skip(f"{folder / name} is not here")
    return folder / name


def declared(angles: int, phases: int, time: str = "one", order: str = "angle-major") -> Declared:
    usual = {"angles": angles, "phases": phases, "order": order, "time": time}
    return parse(Declared, {**usual, "rows": "top-down", "transposed": False}, "SOURCES.md")


def raw(path: Path) -> Listed:
    return Listed("cell", "raw", None, (path,))


@pytest.mark.parametrize("told", SETS, ids=[told.path for told in SETS])
def test_read_as_described(told: Told, real_data: Path) -> None:
    file = read(present(real_data, told.path))
    assert (file.format, file.axes, file.data.shape, str(file.data.dtype)) == (
        told.format, told.axes, told.shape, told.dtype
    )  # fmt: skip
    assert file.pixel_um == (
        told.pixel_um if told.pixel_um is None else pytest.approx(told.pixel_um, rel=0.01)
    )
    assert file.header["byte_order"] if told.format != "PNG" else True
    assert np.isfinite(file.data).all()


WITH_LAYOUT = [told for told in SETS if told.layout]


@pytest.mark.parametrize("told", WITH_LAYOUT, ids=[told.path for told in WITH_LAYOUT])
def test_frames_lie_as_described(told: Told, real_data: Path) -> None:
    assert told.layout is not None
    listed = raw(present(real_data, told.path))
    stacks = read_raw(listed, declared(*told.layout, told.time))
    times = 3 if told.time != "one" else 1
    assert stacks.stacks.shape == (times, *told.layout, *told.shape[-2:])
    said = "stripes say the same order" if told.stripes else "stripes too weak to tell the order"
    assert said in stacks.notes[-1]
    if told.stripes:
        with pytest.raises(BadInput, match="but its stripes say"):
            read_raw(listed, declared(*told.layout, told.time, order="phase-major"))


def test_times_and_wavelengths_of_a_hyperstack_are_not_mixed_up(real_data: Path) -> None:
    with pytest.raises(BadInput, match="for every time"):
        read_raw(raw(present(real_data, "tsim-er/ER_1.tif")), declared(3, 3, "C"))


def test_deltavision_and_its_tiff_copy_are_mirrored(real_data: Path) -> None:
    """Declared bottom-up, both show the same; sections are angle-major with z between angle and phase."""
    stored, copy = (present(real_data, f"cudasirecon-3dsim/raw.{ending}") for ending in ("dv", "tif"))
    said = declared(27, 5)
    upright, notes = read_image(raw(stored), said.model_copy(update={"rows": "bottom-up"}))
    np.testing.assert_array_equal(upright, read(copy).data)
    assert any("turned from bottom-up" in note for note in notes)
    assert read(stored).header == {
        "byte_order": "little-endian", "extended_header_bytes": 0, "rows": "bottom-up", "emission_um": (0.528,),
        "sequence": "ZTW",
    }  # fmt: skip
    middle = upright.reshape(3, 9, 5, 64, 64)[:, 4].reshape(15, 64, 64)
    strengths = stripe_strengths(middle, groupings(3, 5))
    assert max(strengths, key=strengths.__getitem__) == Grouping(3, 5, "angle-major")


def test_the_sixteenth_file_is_the_mean(real_data: Path) -> None:
    folder = present(real_data, "dlsim-microtubules-low-high")
    found = list(DlSim(name="dlsim", folder=folder, frames=15).images())
    assert [(each.role, each.level, len(each.paths)) for each in found] == [
        ("raw", "high", 15), ("widefield", "high", 1), ("reference", None, 1),
        ("raw", "low", 15), ("widefield", "low", 1), ("reconstruction", "low", 1),
    ]  # fmt: skip
    for each in (found[0], found[3]):
        stacks = read_raw(each, declared(3, 5))
        assert any("_15.tif is the mean of the 15 frames" in note for note in stacks.notes)
        assert is_mean_of(read(each.paths[0].parent / f"{each.paths[0].name[:2]}_15.tif").data,
                          stacks.stacks.reshape(15, 256, 256))  # fmt: skip


def test_seven_frames_of_hexagonal_light_are_no_stack_of_stripes(real_data: Path) -> None:
    path = present(real_data, "hexsim-cell/SIMdata_2019-11-05_15-21-42.tiff")
    with pytest.raises(BadInput, match=r"holds 7 x 512 x 512 .* declared are 3 angles x 3 phases"):
        read_raw(raw(path), declared(3, 3))
