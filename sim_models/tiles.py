"""Large fields in tiles, with the same result as in one piece."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from sim_models.field import Image

Pixels = NDArray[np.float32]


def restore_tiled(
    apply: Callable[[Pixels], Pixels],
    stack: Image,
    scale: int,
    tile_px: int,
    halo_px: int,
    divisor: int,
    progress: Callable[[int, int], None] | None = None,
) -> Pixels:
    """Restore a stack tile by tile; memory beyond input and output does not grow with the field.

    Each tile is restored within a window that is `halo_px` larger on every side, and only its middle
    is kept. Windows start on multiples of `divisor` and end on one or at the border of the field, so
    that pooling grids are those of the whole field, and the network pads only where the field ends.

    Args:
        apply: maps (F, y, x) to (C, scale * y, scale * x), or (F, Z, y, x) to (C, Z, scale * y, scale * x),
            in any unit; must act on each window alone, so a normaliser has to be settled for the whole
            stack before.
        stack: (F, Y, X), or (F, Z, Y, X): a tile of a volume holds all of its slices.
        scale: output pixels per input pixel, along Y and X.
        tile_px: edge of a tile in input pixels, rounded up to a multiple of `divisor`.
        halo_px: input pixels around an output pixel that can influence it.
        divisor: the network pads to multiples of it.
        progress: called after each tile with the numbers of tiles done and in all.

    Returns:
        (C, scale * Y, scale * X) or (C, Z, scale * Y, scale * X)
    """
    tile = _round_up(tile_px, divisor)
    halo = _round_up(halo_px, divisor)
    height, width = stack.shape[-2:]
    windows = [(rows, columns) for rows in _spans(height, tile) for columns in _spans(width, tile)]
    restored: Pixels | None = None
    for done, (rows, columns) in enumerate(windows, 1):
        window_rows, window_columns = _widen(rows, halo, height), _widen(columns, halo, width)
        window = apply(np.asarray(stack[..., window_rows, window_columns], dtype=np.float32))
        if restored is None:
            restored = np.empty((*window.shape[:-2], scale * height, scale * width), dtype=np.float32)
        middle = window[..., _within(rows, window_rows, scale), _within(columns, window_columns, scale)]
        restored[..., _enlarge(rows, scale), _enlarge(columns, scale)] = middle
        if progress is not None:
            progress(done, len(windows))
    assert restored is not None
    return restored


def _round_up(pixels: int, divisor: int) -> int:
    return -(-pixels // divisor) * divisor


def _spans(length: int, tile: int) -> Iterator[slice]:
    return (slice(start, min(start + tile, length)) for start in range(0, length, tile))


def _widen(span: slice, halo: int, length: int) -> slice:
    return slice(max(span.start - halo, 0), min(span.stop + halo, length))


def _within(span: slice, window: slice, scale: int) -> slice:
    return _enlarge(slice(span.start - window.start, span.stop - window.start), scale)


def _enlarge(span: slice, scale: int) -> slice:
    return slice(scale * span.start, scale * span.stop)
