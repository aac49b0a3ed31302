"""Files as microscopes and programs of others write them: axes, sizes and what their headers say."""

import json
import struct
from pathlib import Path
from typing import Any, Literal

import mrcfile
import numpy as np
import pytest
import tifffile

from sim_models.config import BadInput
from sim_models.images import read
from sim_models.images.dialects import write_imagej, write_mrc, write_tiff, write_zarr
from sim_models.images.ome_zarr import read_zarr

SERIES = np.random.default_rng(0).integers(0, 4000, (2, 3, 9, 20, 30)).astype(np.uint16)
"""(T, C, I, Y, X)"""

STORED = {0: (1, 0, 2), 1: (0, 2, 1), 2: (0, 1, 2)}
"""DeltaVision's sequence -> axes of `SERIES`, slowest first: ZTW, WZT, ZWT name them fastest first"""


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("sequence", STORED)
def test_times_and_wavelengths_of_deltavision(
    tmp_path: Path, sequence: int, byte_order: Literal["<", ">"]
) -> None:
    sections = SERIES.transpose(*STORED[sequence], 3, 4).reshape(-1, 20, 30)
    path = tmp_path / "a.dv"
    write_mrc(
        path, sections, 0.08, byte_order, 2048, {"times": 2, "sequence": sequence}, False, (525, 605, 680)
    )
    file = read(path)
    assert (file.axes, file.pixel_um) == ("TCIYX", 0.08)
    np.testing.assert_array_equal(file.data, SERIES)
    assert file.header == {
        "byte_order": "little-endian" if byte_order == "<" else "big-endian",
        "extended_header_bytes": 2048,
        "rows": "bottom-up",
        "emission_um": (0.525, 0.605, 0.68),
        "sequence": ["ZTW", "WZT", "ZWT"][sequence],
    }
    assert "its extended header of 2048 bytes is passed over" in file.warnings


def test_one_wavelength_has_no_axis(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.dv", SERIES[:, 0].reshape(-1, 20, 30), 0.08, "<", 0, {"times": 2, "sequence": 2})
    assert read(tmp_path / "a.dv").axes == "TIYX"


def test_times_that_the_sections_cannot_have(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.dv", SERIES[0, 0], 0.08, "<", 0, {"times": 2})
    with pytest.raises(
        BadInput, match=r"announces 2 times and 1 wavelengths in sequence 0, which 9 sections cannot"
    ):
        read(tmp_path / "a.dv")


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_bytes_of_imod_have_no_sign(tmp_path: Path, byte_order: Literal["<", ">"]) -> None:
    bytes_ = (SERIES[0, 0] % 256).astype(np.uint8)
    write_mrc(tmp_path / "a.st", bytes_, 0.01, byte_order, imod=True)
    file = read(tmp_path / "a.st")
    np.testing.assert_array_equal(file.data, bytes_)
    stored = bytearray((tmp_path / "a.st").read_bytes())
    struct.pack_into(byte_order + "i", stored, 156, 1)
    (tmp_path / "a.st").write_bytes(stored)
    assert read(tmp_path / "a.st").data.dtype == np.int8


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32", "complex64", "uint16", "float16"])
def test_mrc2014_is_read_as_its_own_library_reads_it(tmp_path: Path, dtype: str) -> None:
    with mrcfile.new(tmp_path / "a.mrc", data=SERIES[0, 0].astype(dtype)) as made:
        made.voxel_size = 650.0
    file = read(tmp_path / "a.mrc")
    np.testing.assert_array_equal(file.data, mrcfile.read(tmp_path / "a.mrc"))
    assert (str(file.data.dtype), file.pixel_um) == (dtype, pytest.approx(0.065))


def test_volumes_of_mrc2014(tmp_path: Path) -> None:
    mrcfile.write(tmp_path / "a.mrc", SERIES[0])
    file = read(tmp_path / "a.mrc")
    assert (file.axes, file.data.shape) == ("IZYX", (3, 9, 20, 30))


def test_what_we_write_others_read(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", SERIES[0, 0], 0.0626)
    with pytest.warns(RuntimeWarning):
        other = mrcfile.open(tmp_path / "a.mrc", permissive=True)
    np.testing.assert_array_equal(other.data, SERIES[0, 0])
    assert float(other.voxel_size.x) == pytest.approx(0.0626)
    other.close()


@pytest.mark.parametrize("mode", [3, 5, 7, 12, 16, 101])
def test_modes_that_cannot_be_read(tmp_path: Path, mode: int) -> None:
    write_mrc(tmp_path / "a.mrc", SERIES[0, 0], 0.0626)
    stored = bytearray((tmp_path / "a.mrc").read_bytes())
    struct.pack_into("<i", stored, 12, mode)
    (tmp_path / "a.mrc").write_bytes(stored)
    with pytest.raises(BadInput, match=f"pixels of mode {mode}, which no file|, but the file has"):
        read(tmp_path / "a.mrc")


# ---- TIFF


def test_axes_and_calibration_of_an_imagej_hyperstack(tmp_path: Path) -> None:
    write_imagej(tmp_path / "a.tif", SERIES.swapaxes(1, 2), "TZCYX", 0.065)
    file = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(file.data, SERIES.swapaxes(1, 2))
    assert (file.axes, file.pixel_um) == ("TZCYX", pytest.approx(0.065, rel=1e-5))
    assert file.header == {"byte_order": "big-endian", "frame_interval_s": 0.5}


def test_ome_tiff_of_another_byte_order(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.ome.tif", SERIES[0], ome=True, byteorder=">", metadata={"axes": "CZYX"})
    file = read(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(file.data, SERIES[0])
    assert (file.axes, file.header["byte_order"]) == ("CZYX", "big-endian")


def several_files(folder: Path) -> list[Path]:
    """An OME-TIFF with one file per time, every one with the same description, as Bio-Formats writes them."""
    paths = [folder / f"a_{time}.ome.tif" for time in range(2)]
    planes = "".join(
        f'<TiffData FirstT="{time}" FirstZ="{z}" FirstC="0" IFD="{z}" PlaneCount="1">'
        f'<UUID FileName="{path.name}">urn:uuid:0000000{time}-0000-0000-0000-000000000000</UUID></TiffData>'
        for time, path in enumerate(paths)
        for z in range(9)
    )
    for time, path in enumerate(paths):
        description = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:0000000{time}-0000-0000-0000-000000000000"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYZCT" Type="uint16" SizeX="30" SizeY="20" SizeZ="9" SizeC="1" SizeT="2" '
            f'PhysicalSizeX="65" PhysicalSizeXUnit="nm"><Channel ID="Channel:0"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(
            path, SERIES[time, 0], description=description, metadata=None, photometric="minisblack"
        )
    return paths


def test_ome_tiff_over_several_files(tmp_path: Path) -> None:
    paths = several_files(tmp_path)
    for path in paths:
        file = read(path)
        np.testing.assert_array_equal(file.data, SERIES[:, 0])
        assert (file.axes, file.pixel_um, set(file.paths)) == ("TZYX", pytest.approx(0.065), set(paths))


def test_one_of_several_files_is_missing(tmp_path: Path) -> None:
    first, second = several_files(tmp_path)
    second.unlink()
    with pytest.raises(
        BadInput, match=r"a_0\.ome\.tif: frame 9 of 18 is missing: .* another is not beside it"
    ):
        read(first)


def test_frames_of_two_sizes_are_no_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for frame in (*SERIES[0, 0], SERIES[0, 0, 0, :10]):
            tiff.write(frame, contiguous=False, metadata=None, photometric="minisblack")
    with pytest.raises(
        BadInput, match=r"holds 2 images of different size or type \(\(9, 20, 30\), \(10, 30\)\)"
    ):
        read(tmp_path / "a.tif")


def test_frames_that_are_no_longer_named_are_missed(tmp_path: Path) -> None:
    """The chain of directories may end early without being broken; then only unused bytes tell."""
    path = tmp_path / "a.tif"
    write_tiff(path, np.tile(SERIES[0, 0], (1, 4, 4)), metadata=None)
    assert read(path).warnings == ()
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[4].offset
    stored = bytearray(path.read_bytes())
    at += 2 + 12 * struct.unpack_from("<H", stored, at)[0]
    struct.pack_into("<I", stored, at, 0)
    path.write_bytes(stored)
    assert len(read(path).data) == 5
    assert "frames may have been lost" in read(path).warnings[0]


# ---- OME-Zarr


@pytest.fixture(params=["0.4", "0.5"])
def zarr(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_zarr(tmp_path / "a.zarr", SERIES, "TCZYX", 0.065, request.param)
    return tmp_path / "a.zarr"


def test_ome_zarr(zarr: Path) -> None:
    file = read(zarr)
    np.testing.assert_array_equal(file.data, SERIES)
    assert (file.axes, file.pixel_um, file.format, file.warnings) == ("TCZYX", 0.065, "OME-Zarr", ())


def chunk(folder: Path, time: int) -> Path:
    return next(
        path
        for path in (folder / "0").rglob("*")
        if path.is_file() and _place(path, folder)[:1] == [str(time)]
    )


def _place(path: Path, folder: Path) -> list[str]:
    name = "/".join(path.relative_to(folder / "0").parts).removeprefix("c/")
    return name.replace(".", "/").split("/") if not name.startswith((".", "zarr")) else []


def test_only_what_is_needed_is_read_and_must_be_there(zarr: Path) -> None:
    chunk(zarr, 1).unlink()
    with pytest.raises(BadInput, match="is not there, and Zarr would fill in 0"):
        read(zarr)
    file = read_zarr(zarr, at=0)
    np.testing.assert_array_equal(file.data, SERIES[0])
    assert file.axes == "CZYX"
    with pytest.raises(BadInput, match="has 2 entries along its first axis, so none number 2"):
        read_zarr(zarr, at=2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [2**20, 3, 9, 20, 30]}, "metadata announce .* bytes for image, but"),
        ({"shape": [4, 3, 9, 20, 30]}, "is not there"),
        ({"compressor": {"id": "nonsense"}, "codecs": [{"name": "nonsense"}]}, "nonsense"),
        ({"dtype": "|O", "data_type": "nonsense"}, "is damaged or uses a feature|which are no image"),
        ({"path": "../../elsewhere"}, "which is no path inside it"),
        ({"axes": ["y", "x"]}, r"its axes are \['y', 'x'\] but its image has 5 dimensions"),
        ({"multiscales": []}, "have no list 'multiscales' with an entry"),
    ],
)
def test_what_is_wrong_with_an_ome_zarr_is_said(zarr: Path, change: dict[str, Any], said: str) -> None:
    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: change.get(key, changed(inner)) for key, inner in value.items()}
        return [changed(inner) for inner in value] if isinstance(value, list) else value

    for path in [*zarr.rglob("zarr.json"), *zarr.rglob(".z*")]:
        path.write_text(json.dumps(changed(json.loads(path.read_text()))))
    with pytest.raises(BadInput, match=said) as refusal:
        read(zarr)
    assert str(zarr) in str(refusal.value)


def test_zarr_that_is_no_image(zarr: Path) -> None:
    with pytest.raises(BadInput, match="is Zarr without the metadata 'multiscales'"):
        read(zarr / "0")
