"""One look at a scene with what is believed of it so far: bands, maps, peaks, and the frames fitted with them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from sim_models.optics.estimate import refine, search
from sim_models.optics.estimate.bands import Bands, Steps, take_apart
from sim_models.optics.estimate.refine import FrameFit, Images
from sim_models.optics.estimate.refuse import refuse_disorder, refuse_missing
from sim_models.optics.estimate.scene import Scene, guess_object
from sim_models.optics.estimate.search import Atlas, LikelihoodMap, Peak

SHARPER = 30
"""iterations of a guess of the object that tells whether frames are uneven"""


@dataclass(frozen=True)
class View:
    """What one look shows; lists have an entry for each angle."""

    atlas: Atlas
    steps: Steps
    bands: Bands
    maps: Sequence[LikelihoodMap]
    peaks: Sequence[Peak]
    """between the grid points of the maps"""
    curvatures: Sequence[torch.Tensor]
    """(2, 2) of the log likelihood at the peaks, with the sign changed"""
    images: Images
    fits: Sequence[FrameFit]

    @property
    def scene(self) -> Scene:
        """What was looked at."""
        return self.atlas.scene


def look(atlas: Atlas, steps: Steps, find: Callable[[Sequence[LikelihoodMap]], Sequence[Peak]]) -> View:
    """Look at the scene of an atlas with some steps.

    Args:
        atlas: of the scene and the harmonics to look for.
        steps: of phase and brightness that the frames are taken for.
        find: picks a peak for each angle out of the maps.

    Raises:
        NoPattern: if an angle has no peak to trust, or frames are out of order.
    """
    scene, harmonics = atlas.scene, atlas.harmonics
    bands = take_apart(scene, steps, harmonics)
    maps = [search.likelihood_map(atlas, bands.of(angle), bands.guess) for angle in range(len(scene.frames))]
    found = find(maps)
    refuse_missing(scene, found, harmonics)
    summits = [refine.sharpen(each, bands.guess, peak.wave) for each, peak in zip(maps, found, strict=True)]
    peaks = [replace(peak, wave=top.wave, score=top.score) for peak, top in zip(found, summits, strict=True)]
    refuse_missing(scene, peaks, harmonics)
    images = refine.image(scene, bands.guess, [peak.wave for peak in peaks], harmonics)
    fits = refine.fit_frames(scene, images, bands.widefield)
    refuse_disorder(scene, steps, fits, peaks)
    return View(atlas, steps, bands, maps, peaks, [top.curvature for top in summits], images, fits)


def sharper(view: View) -> View:
    """The frames fitted again with a guess of the object that tells fine differences between them.

    Only the frames: where noise drowns the detail of a sharper guess, stripes would be lost in it.
    """
    scene, widefield = view.scene, view.bands.widefield
    guess = guess_object(scene, widefield, SHARPER)
    images = refine.image(scene, guess, [peak.wave for peak in view.peaks], view.atlas.harmonics)
    return replace(view, fits=refine.fit_frames(scene, images, widefield))
