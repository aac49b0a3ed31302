"""One look at a scene with what is believed of it so far: bands, likelihoods, peaks, and fits of the frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from sim_models.optics.estimate import refine, search
from sim_models.optics.estimate.bands import Bands, Steps, take_apart
from sim_models.optics.estimate.refine import FrameFit, Images
from sim_models.optics.estimate.refuse import refuse_disorder, refuse_missing
from sim_models.optics.estimate.scene import Guess, Scene, guess_object
from sim_models.optics.estimate.search import Atlas, Likelihood, Peak

SHARPER = 30
"""iterations of a guess of the object that tells whether frames are uneven"""


@dataclass(frozen=True)
class View:
    """What one look shows; lists have an entry for each angle."""

    atlas: Atlas
    steps: Steps
    bands: Bands
    likelihoods: Sequence[Likelihood]
    peaks: Sequence[Peak]
    """between the grid points of maps"""
    curvatures: Sequence[torch.Tensor]
    """(2, 2) of the log likelihood at the peaks, with the sign changed"""
    images: Images
    fits: Sequence[FrameFit]

    @property
    def scene(self) -> Scene:
        """What was looked at."""
        return self.atlas.scene


def look(atlas: Atlas, steps: Steps, find: Callable[[Sequence[Likelihood]], Sequence[Peak]]) -> View:
    """Look at the scene of an atlas with some steps.

    Args:
        atlas: of the scene and the harmonics to look for.
        steps: of phase and brightness that the frames are taken for.
        find: picks a peak for each angle given what T is made from.

    Raises:
        NoPattern: if an angle has no peak to trust, or frames are out of order.
    """
    scene, harmonics = atlas.scene, atlas.harmonics
    bands = take_apart(scene, steps, harmonics)
    likelihoods = [
        search.likelihood(atlas, bands.of(angle), bands.guess) for angle in range(len(scene.frames))
    ]
    found = find(likelihoods)
    refuse_missing(scene, found, harmonics)
    summits = [refine.sharpen(each, peak.wave) for each, peak in zip(likelihoods, found, strict=True)]
    peaks = [replace(peak, wave=top.wave, score=top.score) for peak, top in zip(found, summits, strict=True)]
    refuse_missing(scene, peaks, harmonics)
    images = refine.image(scene, bands.guess, [peak.wave for peak in peaks], harmonics)
    fits = refine.fit_frames(scene, images, bands.widefield)
    refuse_disorder(scene, steps, fits, peaks)
    return View(atlas, steps, bands, likelihoods, peaks, [top.curvature for top in summits], images, fits)


def sharper_guess(view: View) -> Guess:
    """A guess of the object that tells fine differences between frames."""
    return guess_object(view.scene, view.bands.widefield, SHARPER)


def fitted_again(view: View, guess: Guess) -> View:
    """The frames fitted again with another guess of the object.

    Only the frames: where noise drowns the detail of a sharper guess, stripes would be lost in it.
    """
    images = refine.image(view.scene, guess, [peak.wave for peak in view.peaks], view.atlas.harmonics)
    return replace(view, fits=refine.fit_frames(view.scene, images, view.bands.widefield))
