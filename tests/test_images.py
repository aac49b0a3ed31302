"""Images survive the way in and out, and damaged files are refused with a sentence."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_models.config import BadInput
from sim_models.images import read, write_ome

FRAMES = np.random.default_rng(0).integers(90, 4000, (9, 20, 30)).astype(np.uint16)


def biosr_mrc(path: Path, frames: np.ndarray, order: str = "<", extended: int = 0) -> None:
    """The dialect of the BioSR dataset: mode 6, no 'MAP' stamp, pixel size as length of a one-pixel cell."""
    num, rows, columns = frames.shape
    header = bytearray(1024)
    struct.pack_into(f"{order}10i", header, 0, columns, rows, num, 6, 0, 0, 0, 1, 1, 1)
    struct.pack_into(f"{order}6f", header, 40, 0.0626, 0.0626, 0.16, 90, 90, 90)
    struct.pack_into(f"{order}3i", header, 64, 1, 2, 3)
    struct.pack_into(f"{order}i", header, 92, extended)
    struct.pack_into(f"{order}h", header, 96, -16224)
    path.write_bytes(bytes(header) + bytes(extended) + frames.astype(f"{order}u2").tobytes())


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("APYX", (3, 5, 8, 9)),
        ("APYX", (3, 1, 8, 9)),
        ("APYX", (1, 1, 8, 9)),
        ("YX", (8, 9)),
        ("CYX", (1, 8, 9)),
        ("TAPYX", (2, 3, 3, 8, 9)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_ome_tiff_round_trip(tmp_path: Path, axes: str, shape: tuple[int, ...], dtype: str) -> None:
    data = np.random.default_rng(1).uniform(0, 200, shape).astype(dtype)
    metadata = {"structure": "µtubules & <er>", "levels": [1, 2.5, None]}

    write_ome(tmp_path / "new" / "a.ome.tif", data, axes, 0.0626, metadata, "a name")
    file = read(tmp_path / "new" / "a.ome.tif")

    assert file.axes == axes
    assert file.data.dtype == data.dtype
    np.testing.assert_array_equal(file.data, data)
    assert file.pixel_um == 0.0626
    assert file.metadata == metadata
    assert (file.format, file.warnings) == ("OME-TIFF", ())


def test_ome_tiff_is_valid_for_others(tmp_path: Path) -> None:
    """Other readers see the angle and phase dimensions without knowing our annotation."""
    write_ome(tmp_path / "a.ome.tif", FRAMES.reshape(3, 3, 20, 30), "APYX", 0.065, {}, "n")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        assert tiff.series[0].axes == "APYX"
        assert 'ModuloAlongT Type="angle"' in str(tiff.ome_metadata)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_ome(tmp_path / name, FRAMES, "CYX", 0.065, {"b": 1, "a": 2}, "n")
    write_ome(tmp_path / "other", FRAMES + 1, "CYX", 0.065, {"b": 1, "a": 2}, "n")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "other").read_bytes()


def test_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ome.tif"
    write_ome(path, FRAMES, "CYX", 0.065, {}, "n")
    before = path.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full_disk)
    with pytest.raises(BadInput, match="No space left"):
        write_ome(path, FRAMES + 1, "CYX", 0.065, {}, "n")
    assert path.read_bytes() == before


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"cannot be written .*choose a folder"):
        write_ome(tmp_path / "file" / "a.ome.tif", FRAMES, "CYX", 0.065, {}, "n")


@pytest.mark.parametrize("compression", [None, "lzw", "packbits", "zlib", "zstd"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_of_any_compression(tmp_path: Path, compression: str | None, byteorder: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FRAMES, compression=compression, byteorder=byteorder, photometric="minisblack")
    file = read(path)
    np.testing.assert_array_equal(file.data, FRAMES)
    assert file.data.dtype.isnative
    assert file.pixel_um is None


@pytest.mark.parametrize(
    ("unit", "per_unit", "pixel_um"),
    [
        ("um", 1 / 0.065, 0.065),
        ("nm", 1 / 65, 0.065),
        ("mm", 1 / 65e-6, 0.065),
        ("um", 1, None),
        ("inch", 72, None),
    ],
)
def test_imagej_pixel_size(tmp_path: Path, unit: str, per_unit: float, pixel_um: float | None) -> None:
    path = tmp_path / "a.tif"
    told = {"unit": unit, "axes": "CYX"}
    tifffile.imwrite(path, FRAMES, imagej=True, resolution=(per_unit, per_unit), metadata=told)
    file = read(path)
    assert file.format == "ImageJ TIFF"
    assert file.axes == "CYX"
    assert file.pixel_um == (pytest.approx(pixel_um, rel=1e-5) if pixel_um else None)


@pytest.mark.parametrize(("unit", "size"), [("nm", 65.0), ("µm", 0.065), ("mm", 65e-6), ("pixel", None)])
def test_ome_pixel_size_has_a_unit(tmp_path: Path, unit: str, size: float | None) -> None:
    path = tmp_path / "a.ome.tif"
    told = {"axes": "CYX", "PhysicalSizeX": size or 1.0, "PhysicalSizeXUnit": unit}
    tifffile.imwrite(path, FRAMES, ome=True, photometric="minisblack", metadata=told)
    assert read(path).pixel_um == (pytest.approx(0.065) if size else None)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extended", [0, 2048])
def test_biosr_mrc(tmp_path: Path, order: str, extended: int) -> None:
    biosr_mrc(tmp_path / "a.mrc", FRAMES, order, extended)
    file = read(tmp_path / "a.mrc")
    np.testing.assert_array_equal(file.data, FRAMES)
    assert (file.axes, file.pixel_um, file.format) == ("IYX", 0.0626, "MRC")
    assert any("bottom-up" in warning for warning in file.warnings)


def test_standard_mrc_is_in_angstrom(tmp_path: Path) -> None:
    import mrcfile

    with mrcfile.new(tmp_path / "a.mrc", data=FRAMES) as file:
        file.voxel_size = 650.0
    assert read(tmp_path / "a.mrc").pixel_um == pytest.approx(0.065)


@pytest.mark.parametrize("change", [-2, +2])
def test_mrc_of_wrong_size(tmp_path: Path, change: int) -> None:
    path = tmp_path / "a.mrc"
    biosr_mrc(path, FRAMES)
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + bytes(change))
    with pytest.raises(BadInput, match=r"announces 9 x 20 x 30 pixels, 11,824 bytes, but the file has"):
        read(path)


@pytest.mark.parametrize("kind", ["plain", "lzw", "imagej", "ome", "bigtiff", "mrc", "png"])
@settings(max_examples=15, deadline=None)
@given(share=st.floats(0.0, 0.999))
def test_a_cut_file_is_refused(kind: str, share: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file that lost only its very end may still hold everything; then it is read rightly."""
    path = write_kind(tmp_path_factory.mktemp(kind), kind)
    whole, content = read(path), path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    try:
        cut = read(path)
    except BadInput:
        return
    assert share > 0.98
    np.testing.assert_array_equal(cut.data, whole.data)
    assert (cut.axes, cut.pixel_um) == (whole.axes, whole.pixel_um)


def test_changed_pixels_of_a_png(tmp_path: Path) -> None:
    path = write_kind(tmp_path, "png")
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match="checksum"):
        read(path)


def test_refusals_name_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.tif: does not exist"):
        read(tmp_path / "gone.tif")
    with pytest.raises(BadInput, match=r"holds no image .*give a file or a folder"):
        read(tmp_path)
    (tmp_path / "empty.tif").touch()
    with pytest.raises(BadInput, match="is empty"):
        read(tmp_path / "empty.tif")
    (tmp_path / "page.tif").write_text("<!DOCTYPE html><html>please log in</html>")
    with pytest.raises(BadInput, match=r"is no TIFF.*<!DOCTYP.*convert it"):
        read(tmp_path / "page.tif")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write_kind(tmp_path, "plain")
    path.chmod(0)
    with pytest.raises(BadInput, match="check who may read it"):
        read(path)


def test_decompression_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((1, 9000, 9000), np.uint8), compression="zlib", photometric="minisblack")
    with pytest.raises(BadInput, match="decompression bomb"):
        read(path)


def test_absurd_dimensions(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum + bytes(12))
    with pytest.raises(BadInput, match="header announces"):
        read(path)


def write_frames(folder: Path, frames: np.ndarray) -> list[Path]:
    """One file per frame, numbered without leading zeros; 'frame_10' sorts before 'frame_2'."""
    paths = [folder / f"frame_{index}.tif" for index in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        tifffile.imwrite(path, frame)
    return paths


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    frames = np.random.default_rng(2).integers(90, 4000, (12, 20, 30)).astype(np.uint16)
    paths = write_frames(tmp_path, frames)
    (tmp_path / "LICENSE.txt").write_text("of the data")
    file = read(tmp_path)
    np.testing.assert_array_equal(file.data, frames)
    assert (file.axes, file.format) == ("IYX", "folder of 12 x TIFF")
    assert file.paths == tuple(paths)
    assert file.warnings == ()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_a_mean_at_the_end_of_a_folder_is_no_frame(tmp_path: Path, dtype: str) -> None:
    frames = (FRAMES / 16).astype(dtype)
    paths = write_frames(tmp_path, np.stack([*frames, frames.mean(axis=0).astype(dtype)]))
    file = read(tmp_path)
    np.testing.assert_array_equal(file.data, frames)
    assert file.paths == tuple(paths[:-1])
    assert file.warnings == ("frame_9.tif, the last of 10 images, is the mean of the others and left out",)


@pytest.mark.parametrize(
    "last",
    [
        FRAMES.mean(axis=0) + (np.indices((20, 30)).sum(axis=0) == 7) * 2,
        np.median(FRAMES, axis=0),
    ],
    ids=["mean but for one diagonal", "median"],
)
def test_other_last_images_are_frames(tmp_path: Path, last: np.ndarray) -> None:
    write_frames(tmp_path, np.stack([*FRAMES, last]).astype(np.float32))
    assert len(read(tmp_path).data) == 10


@pytest.mark.parametrize("spoilt", [[0], [0, 8]])
def test_infinite_frames_have_no_mean(tmp_path: Path, spoilt: list[int]) -> None:
    frames = FRAMES.astype(np.float32)
    frames[spoilt, 0, 0] = np.inf
    write_frames(tmp_path, frames)
    assert len(read(tmp_path).data) == 9


def test_copies_of_one_image_are_kept(tmp_path: Path) -> None:
    """Their last one is the mean of the others too; that they are copies is for others to tell."""
    write_frames(tmp_path, np.stack([FRAMES[0]] * 9))
    assert len(read(tmp_path).data) == 9


def test_a_folder_with_an_image_of_another_size(tmp_path: Path) -> None:
    write_frames(tmp_path, FRAMES)
    tifffile.imwrite(tmp_path / "frame_4.tif", FRAMES[4, :10])
    with pytest.raises(BadInput, match=r"frame_4\.tif: has axes YX and shape \(10, 30\).*same size"):
        read(tmp_path)


def test_a_folder_with_a_cut_image(tmp_path: Path) -> None:
    path = write_frames(tmp_path, FRAMES)[4]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"frame_4\.tif: is truncated"):
        read(tmp_path)


def test_real_files(real_data: Path) -> None:
    mrc = read(real_data / "rdl-microtubules-tirf" / "MT.mrc")
    assert (mrc.data.shape, mrc.data.dtype, mrc.pixel_um) == ((9, 256, 256), np.dtype("uint16"), 0.0626)
    hyperstack = read(real_data / "tsim-er" / "ER_1.tif")
    assert (hyperstack.data.shape, hyperstack.axes) == ((3, 9, 112, 512), "ZCYX")
    deltavision = read(real_data / "cudasirecon-3dsim" / "raw.dv")
    flipped = read(real_data / "cudasirecon-3dsim" / "raw.tif")
    assert deltavision.pixel_um == pytest.approx(flipped.pixel_um) == pytest.approx(0.08)
    np.testing.assert_array_equal(deltavision.data[:, ::-1], flipped.data)


def write_kind(folder: Path, kind: str) -> Path:
    path = folder / f"a.{kind if kind in ('mrc', 'png') else 'tif'}"
    match kind:
        case "mrc":
            biosr_mrc(path, FRAMES)
        case "png":
            import imagecodecs

            path.write_bytes(imagecodecs.png_encode(FRAMES[0]))
        case "ome":
            write_ome(path, FRAMES.reshape(3, 3, 20, 30), "APYX", 0.065, {}, "n")
        case "imagej":
            tifffile.imwrite(path, FRAMES, imagej=True)
        case _:
            compression = "lzw" if kind == "lzw" else None
            tifffile.imwrite(path, FRAMES, bigtiff=kind == "bigtiff", compression=compression,
                             photometric="minisblack", metadata=None)  # fmt: skip
    return path
