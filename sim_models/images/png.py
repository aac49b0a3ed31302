"""PNG."""

import struct
import zlib
from pathlib import Path

import imagecodecs

from sim_models.config import BadInput
from sim_models.images.damage import refuse_bomb
from sim_models.images.file import ImageFile, native


def read_png(path: Path, beginning: bytes) -> ImageFile:
    """Read a PNG file that begins with `beginning`.

    Raises:
        BadInput: if it is damaged, or its header announces an absurd size.
    """
    width, height = struct.unpack_from(">II", beginning, 16)
    refuse_bomb(path, width * height)
    stored = path.read_bytes()
    _refuse_damaged_chunks(path, stored)
    data = imagecodecs.png_decode(stored)
    return ImageFile(native(data), "YXS"[: data.ndim], None, "PNG", {}, (), (path,))


def _refuse_damaged_chunks(path: Path, stored: bytes) -> None:
    """The decoder prints a wrong checksum and goes on, so it is compared here (PNG specification, 5.3)."""
    position, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", stored, position)
        end = position + 8 + length
        if struct.unpack_from(">I", stored, end)[0] != zlib.crc32(stored[position + 4 : end]):
            raise BadInput(f"{path}: is damaged (checksum of its {kind!r} chunk); copy or download it again")
        position = end + 4
