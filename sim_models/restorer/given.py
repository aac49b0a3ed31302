"""What a restorer is given, looked at before anything is made of it."""

import numpy as np

from sim_models.config import BadInput
from sim_models.field import AXES, Image, Role

MOST_COUNTS = 2.0**32
"""beyond it nothing is left of single precision"""


def as_stack(image: Image, layout: tuple[int, int], telling: bool) -> Image:
    """Raw frames of a layout (angles, phases) as (A, P, Y, X).

    Frames one after another stay so where it has to be told which is which (`telling`), for whoever needs that refuses
    them.

    Raises:
        BadInput: if there are not as many.
    """
    angles, phases = layout
    frames = image.reshape(-1, *image.shape[-2:]).shape[0]
    if frames != angles * phases or image.ndim not in (3, 4):
        raise BadInput(
            f"the stack has {frames} frames but the model restores {angles * phases} ({angles} angles x {phases} "
            "phases); give a stack of that layout or another model"
        )
    if image.ndim == 3 and not telling:
        return image.reshape(angles, phases, *image.shape[-2:])
    return image


def as_plane(image: Image, role: Role) -> Image:
    """An image (Y, X), or (1, Y, X), as (Y, X).

    Raises:
        BadInput: if there are several.
    """
    if image.shape[:-2] not in ((), (1,)):
        raise BadInput(
            f"{image.shape[0]} images are given but the model restores one, a {role}; give that alone"
        )
    return image.reshape(image.shape[-2:])


def as_series(image: Image, role: Role, fewest: int) -> Image:
    """A volume (T, Z, Y, X) or blinking frames (T, Y, X) of at least so many times.

    Raises:
        BadInput: if axes are missing or there are fewer.
    """
    if image.ndim != len(AXES[role]) or len(image) < fewest:
        raise BadInput(
            f"an array of {' x '.join(map(str, image.shape))} is given, but the model takes {role} frames with axes "
            f"{AXES[role]}, at least {fewest} of {AXES[role][0]}"
        )
    return image


def refuse_values(image: Image) -> None:
    """Refuse what is no image.

    Raises:
        BadInput: if values are of another type, not finite, all alike, or beyond any camera.
    """
    if image.size == 0:
        raise BadInput(f"the stack of {' x '.join(map(str, image.shape))} values is empty; give raw frames")
    if not np.issubdtype(image.dtype, np.number) or np.iscomplexobj(image):
        raise BadInput(
            f"the stack holds values of type {image.dtype}, which no camera gives; give raw frames"
        )
    if not np.isfinite(image).all():
        raise BadInput(
            f"the stack holds {int((~np.isfinite(image)).sum())} values that are NaN or infinite; "
            "export it again from the camera's own file"
        )
    if np.ptp(image) == 0:
        raise BadInput(
            f"the stack is constant (every pixel is {image.flat[0]}); the camera or the export went wrong"
        )
    if np.abs(image).max() > MOST_COUNTS:
        raise BadInput(
            f"the stack holds values up to {np.abs(image).max():.3g}, more than any camera counts; "
            "export it again from the camera's own file"
        )
