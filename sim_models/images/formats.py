"""One file: its first bytes, not its name, say which format it has."""

from pathlib import Path

from sim_models.config import BadInput
from sim_models.images.damage import told_as_bad_input
from sim_models.images.file import ImageFile
from sim_models.images.mrc import HEADER_BYTES, looks_like_mrc, read_mrc
from sim_models.images.png import read_png
from sim_models.images.tiff import read_tiff


def read_file(path: Path) -> ImageFile:
    """Read an image or a stack from one file.

    Raises:
        BadInput: if the file is missing, empty, truncated, damaged or of an unknown format, or if
            its header announces far more data than the file can hold.
    """
    beginning = _beginning(path)
    with told_as_bad_input(path):
        if beginning[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return read_tiff(path)
        if beginning.startswith(b"\x89PNG\r\n\x1a\n"):
            return read_png(path, beginning)
        if looks_like_mrc(path, beginning):
            return read_mrc(path, beginning)
    raise BadInput(
        f"{path}: is no TIFF, OME-TIFF, MRC, DeltaVision or PNG file (it begins with "
        f"{beginning[:8]!r}); convert it to OME-TIFF, for example with Fiji or bfconvert"
    )


def _beginning(path: Path) -> bytes:
    """As much of a file as the longest header that tells a format."""
    try:
        with path.open("rb") as file:
            beginning = file.read(HEADER_BYTES)
    except FileNotFoundError:
        raise BadInput(f"{path}: does not exist; check the spelling of the path") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check who may read it") from None
    if not beginning:
        raise BadInput(f"{path}: is empty (0 bytes); copy or download it again")
    return beginning
