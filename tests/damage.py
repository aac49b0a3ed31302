"""Valid small files of every format, and what befalls them; each damage takes bytes and chance, and returns bytes."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sim_models.images import write_ome
from sim_models.images.dialects import write_imagej, write_mrc, write_tiff, write_zarr

DATA = np.random.default_rng(0).integers(90, 4000, (9, 48, 64)).astype(np.uint16)
Random = np.random.Generator

# ---- files


def _multi_file(path: Path) -> None:
    """An OME-TIFF of another byte order; big-endian is what Bio-Formats writes."""
    write_tiff(path, DATA, ome=True, byteorder=">", metadata={"axes": "CYX"})


def _png(path: Path) -> None:
    import imagecodecs

    path.write_bytes(imagecodecs.png_encode(DATA[0]))


WRITERS: dict[str, Callable[[Path], object]] = {
    "plain.tif": lambda path: write_tiff(path, DATA, metadata=None),
    "lzw.tif": lambda path: write_tiff(path, DATA, compression="lzw", metadata=None),
    "big.tif": lambda path: write_tiff(path, DATA, bigtiff=True, metadata=None),
    "ours.ome.tif": lambda path: write_ome(path, DATA.reshape(3, 3, 48, 64), "APYX", 0.065, {"a": 1}, "n"),
    "other.ome.tif": _multi_file,
    "imagej.tif": lambda path: write_imagej(path, DATA, "CYX", 0.065),
    "biosr.mrc": lambda path: write_mrc(path, DATA, 0.0626),
    "big_endian.mrc": lambda path: write_mrc(path, DATA, 0.0626, ">", 1024),
    "imod.mrc": lambda path: write_mrc(path, (DATA % 256).astype(np.uint8), 0.01, imod=True),
    "waves.dv": lambda path: write_mrc(
        path, DATA[:8], 0.08, "<", 512, {"times": 2, "sequence": 1}, False, (525, 605)
    ),
    "image.png": _png,
    "v4.zarr": lambda path: write_zarr(path, DATA, "CYX", 0.065, "0.4"),
    "v5.zarr": lambda path: write_zarr(path, DATA, "CYX", 0.065, "0.5"),
    "settings.yaml": lambda path: path.write_text(SETTINGS),
}

SETTINGS = """\
# what a dataset's definition may hold
name: biosr-ccps
licence: CC-BY-4.0
usual: &usual {angles: 3, phases: 3, order: angle-major}
frames: {<<: *usual, rows: bottom-up, transposed: false, time: one}
layout: {name: biosr, folder: data/CCPs, levels: 9, target: SIM_gt}
sizes: [502, 502]
"""


# ---- damage


def truncated(stored: bytes, rng: Random) -> bytes:
    return stored[: int(rng.integers(0, len(stored)))]


def nearly_whole(stored: bytes, rng: Random) -> bytes:
    return stored[: -int(rng.integers(1, 9))]


def empty(stored: bytes, rng: Random) -> bytes:
    return b""


def appended(stored: bytes, rng: Random) -> bytes:
    return stored + rng.bytes(int(rng.integers(1, 5000)))


def flipped(stored: bytes, rng: Random) -> bytes:
    return _flipped(stored, rng, 0, len(stored))


def flipped_in_front(stored: bytes, rng: Random) -> bytes:
    return _flipped(stored, rng, 0, min(256, len(stored)))


def flipped_at_the_end(stored: bytes, rng: Random) -> bytes:
    return _flipped(stored, rng, max(0, len(stored) - 400), len(stored))


def zeroed(stored: bytes, rng: Random) -> bytes:
    at = int(rng.integers(0, len(stored)))
    return stored[:at] + bytes(min(64, len(stored) - at)) + stored[at + 64 :]


def _flipped(stored: bytes, rng: Random, start: int, end: int) -> bytes:
    changed = bytearray(stored)
    for _ in range(int(rng.integers(1, 5))):
        changed[int(rng.integers(start, end))] = int(rng.integers(0, 256))
    return bytes(changed)


def odd_number(rng: Random) -> int:
    return int(
        rng.choice([0, 1, 2, 3, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**32 - 1, rng.integers(0, 2**32)])
    )


def odd_tag(stored: bytes, rng: Random) -> bytes:
    """Another type, count or value of one tag of a TIFF's first directory: widths, sample formats, offsets ..."""
    order = "<" if stored[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", stored, 2)[0] == 43
    at = struct.unpack_from(order + ("Q" if big else "I"), stored, 8 if big else 4)[0]
    num = struct.unpack_from(order + ("Q" if big else "H"), stored, at)[0]
    entry = at + (8 if big else 2) + (20 if big else 12) * int(rng.integers(0, num))
    changed = bytearray(stored)
    match rng.integers(0, 4):
        case 0:
            struct.pack_into(order + "H", changed, entry + 2, int(rng.integers(0, 20)))
        case 1:
            struct.pack_into(order + "I", changed, entry + 4, odd_number(rng))
        case _:
            struct.pack_into(order + "I", changed, entry + (12 if big else 8), odd_number(rng))
    return bytes(changed)


def odd_field(stored: bytes, rng: Random) -> bytes:
    """Another number in a field of an MRC's header: size, mode, grid, extended header, times and wavelengths."""
    order = ">" if stored[3] else "<"
    changed = bytearray(stored)
    at = int(rng.choice([0, 4, 8, 12, 12, 28, 40, 64, 88, 92, 152, 180, 182, 196]))
    number = int(rng.integers(-4, 20)) % 2**32 if rng.random() < 0.5 else odd_number(rng)
    if at >= 180:
        struct.pack_into(order + "H", changed, at, number % 2**16)
    else:
        struct.pack_into(order + "I", changed, at, number)
    return bytes(changed)


def swapped_sides(stored: bytes, rng: Random) -> bytes:
    return stored[4:8] + stored[:4] + stored[8:]


def deep(stored: bytes, rng: Random) -> bytes:
    return stored + b"more: " + b"[" * int(rng.integers(10, 50_000))


def alias_bomb(stored: bytes, rng: Random) -> bytes:
    width = int(rng.integers(4, 12))
    lines = [b"b0: &b0 [1, 2, 3]"]
    lines += [b"b%d: &b%d [%s]" % (i, i, b", ".join([b"*b%d" % (i - 1)] * width)) for i in range(1, 12)]
    return stored + b"\n".join(lines) + b"\n"


def huge(stored: bytes, rng: Random) -> bytes:
    return stored + b"# " + b"x" * int(rng.integers(2**20, 2**22))


def twice(stored: bytes, rng: Random) -> bytes:
    lines = stored.splitlines(keepends=True)
    return stored + lines[int(rng.integers(1, len(lines)))]


def no_utf8(stored: bytes, rng: Random) -> bytes:
    return (
        stored.replace(b"biosr-ccps", b"\xe9\xff") if rng.random() < 0.5 else stored.decode().encode("utf-16")
    )


def other_type(stored: bytes, rng: Random) -> bytes:
    odd = (b"[]", b"{}", b"null", b"2020-01-01", b"2020-13-45", b".nan", b"1e999", b"!!binary AAAA", b"!!set {a}",
           b"!!python/object/apply:os.system [true]", b"0x" + b"f" * 5000, b"[&x [*x]]", b"\"\\ud800\"", b"-1", b"yes",
           b"? [1]\n: 2", b"{1: 2, null: 3}", b"'" + b"long " * 500 + b"'", b"{1: 2}", b"&a *a", b"*no")  # fmt: skip
    found = [
        b"biosr-ccps",
        b"CC-BY-4.0",
        b"bottom-up",
        b"false",
        b"9",
        b"data/CCPs",
        b"[502, 502]",
        b"502",
        b"SIM_gt",
    ]
    return stored.replace(found[int(rng.integers(len(found)))], odd[int(rng.integers(len(odd)))], 1)


ANY = (truncated, truncated, nearly_whole, empty, appended, flipped, flipped_in_front, zeroed)
DAMAGE: dict[str, tuple[Callable[[bytes, Random], bytes], ...]] = {
    ".tif": (*ANY, flipped_at_the_end, odd_tag, odd_tag, odd_tag),
    ".mrc": (*ANY, odd_field, odd_field, odd_field, swapped_sides),
    ".dv": (*ANY, odd_field, odd_field, odd_field, swapped_sides),
    ".png": ANY,
    ".yaml": (*ANY, deep, alias_bomb, huge, twice, no_utf8, other_type, other_type, other_type, other_type),
}

ODD_META: tuple[tuple[str, Any], ...] = (
    ("shape", [2**40, 2**40, 2**40]), ("shape", [9, 48]), ("shape", "big"), ("shape", [9, 48, 2**20]), ("shape", []),
    ("shape", [-9, 48, 64]), ("shape", [10, 48, 64]), ("shape", [9, 64, 48]), ("dtype", "<u9"), ("dtype", "|O"),
    ("dtype", "<f8"), ("data_type", "float8"), ("data_type", "float64"), ("compressor", {"id": "nonsense"}),
    ("codecs", [{"name": "nonsense"}]), ("codecs", []), ("chunks", [1, 2**30, 2**30]), ("chunks", [1, 1, 1]),
    ("chunks", [0, 48, 64]), ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [1, 2**30, 2**30]}}),
    ("axes", [{"name": "y"}, {"name": "x"}, {"name": "c"}]), ("axes", ["x", "x", "x"]), ("axes", 7), ("axes", []),
    ("path", "../../.."), ("path", "/etc"), ("path", "1"), ("path", None), ("datasets", []), ("multiscales", {}),
    ("zarr_format", 9), ("scale", ["a", "b", "c"]), ("scale", []), ("unit", 3), ("fill_value", "abc"), ("order", "F"),
    ("node_type", "group"), ("coordinateTransformations", [7]), ("filters", [{"id": "delta", "dtype": "<u9"}]),
)  # fmt: skip


def damaged_zarr(folder: Path, rng: Random) -> str:
    """One file of it is lost or damaged, or one entry of its metadata is another; returns what."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    metas = [path for path in files if path.name.startswith(".z") or path.name == "zarr.json"]
    if rng.random() < 0.5:
        key, value = ODD_META[int(rng.integers(len(ODD_META)))]
        changed = [path for path in metas if _changed(path, key, value)]
        return f"{key}={value!r}" if changed else "unchanged"
    path = (
        files[int(rng.integers(len(files)))] if rng.random() < 0.5 else metas[int(rng.integers(len(metas)))]
    )
    if rng.random() < 0.25:
        path.unlink()
        return f"lost {path.relative_to(folder)}"
    damage = ANY[int(rng.integers(len(ANY)))]
    path.write_bytes(damage(path.read_bytes(), rng))
    return f"{damage.__name__} {path.relative_to(folder)}"


def _changed(path: Path, key: str, value: Any) -> bool:
    said = json.loads(path.read_text())
    found = _replaced(said, key, value)
    path.write_text(json.dumps(said))
    return found


def _replaced(said: Any, key: str, value: Any) -> bool:
    if isinstance(said, dict) and key in said:
        said[key] = value
        return True
    inner = said.values() if isinstance(said, dict) else said if isinstance(said, list) else ()
    return sum(_replaced(each, key, value) for each in inner) > 0  # all of them, not the first
