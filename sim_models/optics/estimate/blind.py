"""From frames to stripes without being told where to look: the order of the steps."""

import math
from collections.abc import Sequence

import torch
from scipy.stats import chi2

from sim_models.config import BadInput
from sim_models.field import Microscope
from sim_models.optics.estimate import search
from sim_models.optics.estimate.bands import Steps, even_steps
from sim_models.optics.estimate.refine import phase_deviation
from sim_models.optics.estimate.refuse import apart, refuse_uncertain
from sim_models.optics.estimate.result import Estimate
from sim_models.optics.estimate.scene import set_scene
from sim_models.optics.estimate.search import Atlas, Likelihood, Peak
from sim_models.optics.estimate.summary import agreement, summarise, true_otf
from sim_models.optics.estimate.view import View, fitted_again, look, sharper_guess
from sim_models.optics.otf import Otf
from sim_models.optics.separation import num_bands
from sim_models.optics.threads import threads_for

SMALLEST_PX = 32
"""shorter edges hold too few cycles of stripes to tell them from structure"""

COARSEST, FEWEST_CYCLES = 1.0, 8.0
"""cutoff in cycles per pixel from which hardly anything of the image is left, and the least across the frames"""

ROUNDS = 3
"""of separating the bands with what was found before, where phases or brightness turn out uneven"""

OTFS = 2
"""others than the stated one to try, each as the bands liked best with the one before"""

PHASE_FLOOR_RAD_PX, GAIN_FLOOR_PX = 5.0, 1.5
"""deviations that an imperfect guess of the object may feign, times the shorter edge: more places, less deviation"""

INSIST, INSIST_BESIDE = 1e-3, 0.05
"""probability of deviations by chance below which they are believed: at first, and where other angles are uneven"""

INSIST_GAIN = 1e-4
"""likewise of differences in brightness, from the noise of pixels alone"""


def usual_harmonics(phases: int) -> int:
    """Harmonics that so many phases per angle are taken for: two beams with 3 or 4, three with 5 or more."""
    return 2 if phases >= num_bands(2) else 1


def estimate(
    frames: torch.Tensor,
    microscope: Microscope,
    harmonics: int,
    otf: Otf | None = None,
    start: Sequence[tuple[float, float]] | None = None,
) -> Estimate:
    """Find the stripes in frames (A, P, Y, X).

    Args:
        frames: in photo-electrons where `microscope` has a camera, else in counts above the camera's offset.
        microscope: what decides cutoff and pixel size.
        harmonics: 1 for stripes of two beams, 2 for three beams or a non-linear response.
        otf: the true one; None for an ideal objective.
        start: (angle_rad, spacing_um) of each angle to look near, either way round; None to look everywhere.

    Raises:
        NoPattern: if an angle shows no stripes, or none that can be trusted, or if frames are out of order.
        BadInput: if the frames cannot hold such stripes.
    """
    otf = otf or Otf.ideal(microscope)
    _check(frames, harmonics, start)
    _check_sampling(frames, otf, microscope.pixel_um)
    with torch.no_grad(), threads_for(frames):
        scene, unit = set_scene(frames.float(), microscope, otf)
        hints = None if start is None else [_wave(*each, scene.pixel_um) for each in start]
        atlas = Atlas(scene, harmonics)
        first = view = look(atlas, even_steps(scene), lambda seen: _find(atlas, seen, hints))
        agreed = agreement(first)
        for _ in range(OTFS):
            truer = true_otf(view.scene.objective, agreed.fit)
            if truer is view.scene.objective:
                break
            scene, unit = set_scene(frames.float(), microscope, truer)
            first = view = _again(view, Atlas(scene, harmonics), view.steps)
            agreed = agreement(view)
        if _better_steps(view) is not view.steps:
            view = _settled(view)
        covariances = _covariances(view)
        refuse_uncertain(view.scene, covariances, view.peaks)
        return summarise(view, agreed if view is first else agreement(view), covariances, unit, otf)


def _again(view: View, atlas: Atlas, steps: Steps) -> View:
    """Another look, near the peaks of the last one."""
    return look(atlas, steps, lambda _: view.peaks)


def _settled(view: View) -> View:
    """Looks with better steps until they stay; a sharper guess of the object has to say that frames are uneven."""
    guess = sharper_guess(view)
    view = fitted_again(view, guess)
    for _ in range(ROUNDS):
        steps = _better_steps(view)
        if steps is view.steps:
            break
        view = fitted_again(_again(view, view.atlas, steps), guess)
    return view


def _check(frames: torch.Tensor, harmonics: int, start: Sequence[tuple[float, float]] | None) -> None:
    if frames.ndim != 4:
        raise BadInput(
            f"frames have shape {tuple(frames.shape)}; expected angles x phases x rows x columns (APYX)"
        )
    angles, phases, *shape = frames.shape
    if phases < num_bands(harmonics):
        raise BadInput(
            f"{phases} phases per angle cannot tell the {num_bands(harmonics)} bands of {harmonics} harmonics apart; "
            f"give at least {num_bands(harmonics)} phases or fewer harmonics"
        )
    if min(shape) < SMALLEST_PX:
        raise BadInput(
            f"frames of {shape[0]} x {shape[1]} pixels are too small; {SMALLEST_PX} a side is the least"
        )
    if not math.isfinite(float(frames.sum())):
        raise BadInput("frames have NaN or infinite pixels; export the stack again")
    if float(frames.max()) == float(frames.min()):
        raise BadInput(f"all pixels of all frames are {float(frames.max()):g}; export the stack again")
    if start is not None and len(start) != angles:
        raise BadInput(f"{len(start)} start values for {angles} angles; give one (angle, spacing) for each")


def _check_sampling(frames: torch.Tensor, otf: Otf, pixel_um: float) -> None:
    cutoff, edge = otf.cutoff_per_um * pixel_um, min(frames.shape[-2:])
    if not FEWEST_CYCLES / edge < cutoff < COARSEST:
        raise BadInput(
            f"the objective's cutoff would be {cutoff:.3g} cycles per pixel of {pixel_um:g} um, "
            f"{cutoff * edge:.3g} across the frames; at most {COARSEST:g} and at least {FEWEST_CYCLES:g} can be used: "
            "check pixel size (in um, at the specimen), numerical aperture and wavelength (in um)"
        )


def _wave(angle_rad: float, spacing_um: float, pixel_um: float) -> torch.Tensor:
    """Wave vector (2,) (y, x) in cycles per pixel."""
    length = pixel_um / spacing_um
    return torch.tensor([length * math.sin(angle_rad), length * math.cos(angle_rad)], dtype=torch.float64)


def _find(
    atlas: Atlas, likelihoods: Sequence[Likelihood], hints: Sequence[torch.Tensor] | None
) -> list[Peak]:
    """A peak for each angle: near its hint, or alone, or guided by those found alone, or all together."""
    maps = [search.mapped(atlas, each) for each in likelihoods]
    tolerance = search.GUIDED_TOLERANCE * atlas.scene.cutoff
    if hints is not None:
        pairs = zip(maps, hints, strict=True)
        return [search.near(atlas, each, [hint], tolerance, search.GIVEN) for each, hint in pairs]
    peaks = [search.strongest(atlas, each) for each in maps]
    found = [peak.wave for peak in peaks if peak.accepted]
    if found and len(found) < len(peaks):
        expected = _missing_directions(found, len(peaks))
        peaks = [
            peak if peak.accepted else search.near(atlas, each, expected, tolerance, "guided")
            for peak, each in zip(peaks, maps, strict=True)
        ]
    if len(peaks) > 1 and not all(peak.accepted for peak in peaks):
        jointly = search.together(atlas, maps)
        if all(peak.accepted for peak in jointly):
            return jointly
    return peaks


def _missing_directions(found: Sequence[torch.Tensor], angles: int) -> list[torch.Tensor]:
    """Where the other angles should be if all are evenly spread over half a turn and equally long."""
    length = torch.stack([wave.norm() for wave in found]).mean()
    spread = [
        search.rotated(wave / wave.norm() * length, math.pi * turn / angles)
        for wave in found
        for turn in range(1, angles)
    ]
    return [wave for wave in spread if all(apart(wave, other) > 0.25 * float(length) for other in found)]


def _better_steps(view: View) -> Steps:
    """Steps as the frames say, where they insist; those of the view where nothing changes."""
    steps, edge = view.steps, min(view.scene.shape)
    phase_floor, gain_floor = PHASE_FLOOR_RAD_PX / edge, GAIN_FLOOR_PX / edge
    phase, uneven = steps.phase_rad.clone(), list(steps.uneven)
    measured = [phase_deviation(fit, angle, steps.phase_rad[angle]) for angle, fit in enumerate(view.fits)]
    some = any(uneven) or any(_insists(*each, phase_floor, INSIST) for each in measured)
    for angle, (deviation, sigma) in enumerate(measured):
        if uneven[angle] or (some and _insists(deviation, sigma, phase_floor, INSIST_BESIDE)):
            phase[angle] += deviation
            uneven[angle] = True
    gain = torch.stack([fit.gain[angle] for angle, fit in enumerate(view.fits)])
    gain_sigma = torch.stack([fit.gain_sigma[angle] for angle, fit in enumerate(view.fits)])
    gain = gain / gain.mean()
    if not _insists((gain - 1).flatten(), gain_sigma.flatten(), gain_floor, INSIST_GAIN):
        gain = torch.ones_like(gain)
    moved = float((phase - steps.phase_rad).abs().max()) > phase_floor / 4
    dimmed = float((gain - steps.gain).abs().max()) > gain_floor / 4
    return Steps(phase, gain, tuple(uneven)) if moved or dimmed else steps


def _insists(deviation: torch.Tensor, sigma: torch.Tensor, floor: float, by_chance: float) -> bool:
    """Whether deviations (K,) from zero, their mean aside, are beyond chance and beyond the floor."""
    squares = float((deviation.square() / (sigma.square() + floor**2)).sum())
    return squares > float(chi2.isf(by_chance, len(deviation) - 1))


def _covariances(view: View) -> list[torch.Tensor]:
    """(2, 2) covariance of each wave vector: the inverse curvature of the log likelihood (Fisher information)."""
    atlas, covariances = view.atlas, []
    for angle, (likelihood, peak, curvature) in enumerate(
        zip(view.likelihoods, view.peaks, view.curvatures, strict=True)
    ):
        around = likelihood.noise[-1].at(float((atlas.harmonics * peak.wave).norm()))
        band, striped = view.bands.of(angle)[-1], view.images.striped[angle, -1]
        alone = search.noise_left(atlas, band, view.bands.guess, striped, peak.wave)
        summit = bool((torch.linalg.eigvalsh(curvature) > 0).all())
        inverse = torch.linalg.inv(curvature) if summit else torch.full((2, 2), math.inf, dtype=torch.float64)
        covariances.append(inverse * (alone / around))
    return covariances
