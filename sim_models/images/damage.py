"""How damage is told, whatever the format: one sentence with a way out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sim_models.config import BadInput

UNCHECKED_BYTES = 64 * 2**20
"""decoded images up to this size are read without asking how well they were compressed"""

HIGHEST_COMPRESSION = 200
"""decoded over stored size; a camera image never reaches it, a damaged header or a decompression bomb does"""


@contextmanager
def told_as_bad_input(path: Path) -> Iterator[None]:
    """Decoders raise whatever they trip over in a damaged file, so every exception is meant here."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(
            f"{path}: is damaged or uses a feature that cannot be read ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:160]}); copy it again or save it as OME-TIFF"
        ) from None


def refuse_bomb(path: Path, decoded_bytes: int) -> None:
    """Refuse, before anything is decoded, a header that announces far more than the file can hold.

    Raises:
        BadInput: if it does.
    """
    stored_bytes = path.stat().st_size
    if decoded_bytes > max(UNCHECKED_BYTES, HIGHEST_COMPRESSION * stored_bytes):
        raise BadInput(
            f"{path}: its header announces {decoded_bytes:,} bytes of image in a file of {stored_bytes:,}; "
            "the header is damaged or the file is a decompression bomb; copy it again from its source"
        )


def truncated(path: Path, expected: str) -> BadInput:
    """The refusal of a file that ends too early; `expected` says what should have been there."""
    return BadInput(f"{path}: is truncated: {expected}; copy or download it again")
