"""The stripes to a hundredth of a cycle per field and a hundredth of a radian, with uncertainties.

The wave vector is where the likelihood T (see `search`) has its maximum between grid points, found by Newton's
method on its transforms. Phases and gains of the frames follow by weighted least squares: each frame is a sum of
the guess of the object through the objective, and of the same in stripes, once in phase and once a quarter turn on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sim_models.optics.estimate.scene import Guess, Scene, centred
from sim_models.optics.estimate.search import Likelihood
from sim_models.optics.fourier import filtered
from sim_models.optics.noise import power

STEPS = 6
"""of Newton's method at most"""

CLOSE = 3e-3
"""cycles per field: a step shorter than this is the last, for the next would be its square"""

NOISE_STEP = 5
"""pixels from one to the next that the noise of fits is summed over; odd, so that it fits no pattern of two"""

FIRST_LOOK = torch.linspace(-0.5, 0.5, 5, dtype=torch.float64)
"""cycles per field around the start: Newton's method begins at the best of these places along y and x"""


@dataclass(frozen=True)
class Moments:
    """A Fourier transform at one frequency, with its first and second derivatives there."""

    value: torch.Tensor
    gradient: torch.Tensor
    """(2,)"""
    hessian: torch.Tensor
    """(2, 2)"""


def moments(image: torch.Tensor, wave: torch.Tensor) -> Moments:
    """sum of image(r) exp(-2 pi i q . r) over an image (Y, X), r from its centre, with derivatives in q = wave."""
    factors = []
    for frequency, axis in zip(
        wave.tolist(), centred((image.shape[0], image.shape[1]), image.device), strict=True
    ):
        phasor = torch.exp(-2j * math.pi * frequency * axis)
        slope = -2j * math.pi * axis
        factors.append(torch.stack([phasor, slope * phasor, slope.square() * phasor]).to(torch.complex64))
    table = ((factors[0] @ image) @ factors[1].T).cpu().to(torch.complex128)
    return Moments(
        table[0, 0],
        torch.stack([table[1, 0], table[0, 1]]),
        torch.stack([torch.stack([table[2, 0], table[1, 1]]), torch.stack([table[1, 1], table[0, 2]])]),
    )


@dataclass(frozen=True)
class Summit:
    """The maximum of T."""

    wave: torch.Tensor
    """(2,) of the first harmonic, along y and x, cycles per pixel"""
    score: float
    curvature: torch.Tensor
    """(2, 2) minus the second derivatives of T in the wave vector"""


def sharpen(likelihood: Likelihood, wave: torch.Tensor) -> Summit:
    """The maximum of T near `wave` (2,) of the first harmonic."""
    size = min(likelihood.guess.energy.shape)
    wave = _best_around(likelihood, wave)
    for _ in range(STEPS):
        _, gradient, hessian = _slopes(likelihood, wave)
        values, axes = torch.linalg.eigh(-hessian)
        # Along an axis where T is not yet concave, go uphill as if it were.
        step = axes @ ((axes.T @ gradient) / values.abs().clamp(min=1e-12))
        wave = wave + step * (0.25 / size / step.norm().clamp(min=1e-30)).clamp(max=1.0)
        if float(step.norm()) * size < CLOSE:
            break
    score, _, hessian = _slopes(likelihood, wave)
    return Summit(wave, score, -hessian)


def _best_around(likelihood: Likelihood, wave: torch.Tensor) -> torch.Tensor:
    """The place with the highest T among `FIRST_LOOK` around a wave vector, in steps of its finest harmonic."""
    harmonics, shape = likelihood.harmonics, likelihood.products.shape[1:]
    rows, columns = (part + FIRST_LOOK / size / harmonics for part, size in zip(wave, shape, strict=True))
    total = torch.zeros(len(rows), len(columns))
    for order, (product, noise) in enumerate(
        zip(likelihood.products, likelihood.noise, strict=True), start=1
    ):
        level = noise.at(float((order * wave).norm()))
        places = [
            (order * axis * size).round().long() % size
            for axis, size in zip((rows, columns), shape, strict=True)
        ]
        energy = likelihood.guess.energy[places[0][:, None], places[1]]
        down, right = (
            _phasors(order * axis, size).to(product)
            for axis, size in zip((rows, columns), shape, strict=True)
        )
        total += (power(down @ product @ right.T) / (energy * level)).cpu()
    row, column = divmod(int(total.argmax()), len(columns))
    return torch.stack([rows[row], columns[column]])


def _phasors(frequencies: torch.Tensor, size: int) -> torch.Tensor:
    """(K, size) exp(-2 pi i f r) for frequencies (K,), r from the centre of an axis."""
    axis = centred((size, size))[0]
    return torch.exp(-2j * math.pi * frequencies[:, None] * axis).to(torch.complex64)


def _slopes(likelihood: Likelihood, wave: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
    """T, its gradient (2,) and Hessian (2, 2) in the wave vector of the first harmonic."""
    score, gradient, hessian = (
        0.0,
        torch.zeros(2, dtype=torch.float64),
        torch.zeros(2, 2, dtype=torch.float64),
    )
    for order, (product, noise) in enumerate(
        zip(likelihood.products, likelihood.noise, strict=True), start=1
    ):
        inner = moments(product, order * wave)
        total, fall = _energy(likelihood.guess.energy, order * wave)
        level = noise.at(float((order * wave).norm()))
        conjugate = inner.value.conj()
        ratio = (conjugate * inner.value).real / total
        slope = 2 * (conjugate * inner.gradient).real
        bend = 2 * (torch.outer(inner.gradient.conj(), inner.gradient) + conjugate * inner.hessian).real
        # Derivatives of the quotient; the energy is so smooth that its own curvature does not count.
        first = (slope - ratio * fall) / total
        second = (bend - torch.outer(first, fall) - torch.outer(fall, first)) / total
        score += float(ratio) / level
        gradient += order * first / level
        hessian += order**2 * second / level
    return score, gradient, hessian


def _energy(energy: torch.Tensor, wave: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Value and gradient (2,) of <s_q, s_q> between grid points, from the nearest point and its neighbours."""
    sizes = torch.tensor(energy.shape, dtype=torch.float64)
    place = wave * sizes
    nearest = place.round()
    row, column = (int(index) % size for index, size in zip(nearest, energy.shape, strict=True))
    down, right = (row + 1) % energy.shape[0], (column + 1) % energy.shape[1]
    slopes = torch.tensor(
        [
            float(energy[down, column] - energy[row - 1, column]),
            float(energy[row, right] - energy[row, column - 1]),
        ]
    ).double()
    value = float(energy[row, column]) + float((slopes / 2 * (place - nearest)).sum())
    return value, slopes / 2 * sizes


@dataclass(frozen=True)
class Images:
    """The guess of the object through the objective, plain and in stripes."""

    plain: torch.Tensor
    """(Y, X)"""
    striped: torch.Tensor
    """(A, H, Y, X) complex, s_q for the harmonics of every angle"""


def image(scene: Scene, guess: Guess, waves: Sequence[torch.Tensor], harmonics: int) -> Images:
    """Image the guess in stripes of wave vectors (2,), one for each angle."""
    plain = filtered(guess.object, scene.otf)
    striped = [
        scene.blurred(guess.object * scene.carrier(h * wave))
        for wave in waves
        for h in range(1, harmonics + 1)
    ]
    return Images(plain, torch.stack(striped).reshape(len(waves), harmonics, *scene.shape))


@dataclass(frozen=True)
class FrameFit:
    """How much of each frame (A, P) is the plain object, and how much is stripes of one wave vector."""

    gain: torch.Tensor
    """(A, P)"""
    gain_sigma: torch.Tensor
    """(A, P)"""
    amplitude: torch.Tensor
    """(H, A, P) complex, m_h exp(i (h phase + lead)) with the phase at the centre of the field"""
    amplitude_sigma: torch.Tensor
    """(H, A, P) standard deviation of the real and of the imaginary part"""
    elsewhere: torch.Tensor
    """(H, A, P) complex, as `amplitude`, beside the stripes that each frame has of its own angle"""


def fit_frames(scene: Scene, images: Images, widefield: torch.Tensor) -> list[FrameFit]:
    """Fit all frames with the wide-field (Y, X) and the stripes of each angle in turn, whatever their phases.

    With the wide-field as it is: what the guess of the object lacks of it would be the same in all frames, and pass for
    stripes that stand still.
    """
    angles, harmonics = images.striped.shape[:2]
    striped = images.striped.flatten(2).flatten(0, 1)
    regressors = widefield.new_empty(1 + 2 * len(striped), widefield.numel())
    regressors[0], regressors[1::2], regressors[2::2] = widefield.flatten(), striped.real, -striped.imag
    weighted = regressors * scene.window.flatten()
    gram = (weighted @ regressors.T).double().cpu()
    seen = (weighted @ scene.frames.flatten(0, 1).flatten(1).T).double().cpu()
    # Noise of each pixel: shot noise of the light there, and read noise. Every few pixels are enough to sum it up.
    some = slice(None, None, NOISE_STEP)
    noise = images.plain.flatten()[some].clamp(min=0) + scene.read_variance
    few = weighted[:, some]
    spread = NOISE_STEP * ((few * noise) @ few.T).double().cpu()
    numbers = [
        [0, *range(1 + 2 * harmonics * angle, 1 + 2 * harmonics * (angle + 1))] for angle in range(angles)
    ]
    phases, fits = scene.frames.shape[1], []
    for angle, own in enumerate(numbers):
        inverse = torch.linalg.inv(gram[own][:, own])
        sigma = (inverse @ spread[own][:, own] @ inverse).diagonal()[:, None].sqrt()
        solution, elsewhere = inverse @ seen[own], []
        for other, theirs in enumerate(numbers):
            frames, both = (
                slice(phases * other, phases * (other + 1)),
                own + theirs[1:] if other != angle else own,
            )
            elsewhere.append(torch.linalg.solve(gram[both][:, both], seen[both][:, frames])[: len(own)])
        fits.append(_solved(solution, sigma, torch.cat(elsewhere, dim=1), scene.frames.shape[:2]))
    return fits


def _solved(
    solution: torch.Tensor, sigma: torch.Tensor, elsewhere: torch.Tensor, shape: torch.Size
) -> FrameFit:
    """Gain and amplitudes out of the coefficients (1 + 2 H, F) of plain, cosine and sine for frames of gain 1."""
    gain = solution[0]
    root = gain.clamp(min=1e-12).sqrt()
    amplitude, beside = (torch.complex(each[1::2], each[2::2]) / gain for each in (solution, elsewhere))
    amplitude_sigma = torch.maximum(sigma[1::2], sigma[2::2]) / root
    values = (gain, sigma[0] * root, amplitude, amplitude_sigma, beside)
    return FrameFit(*(each.reshape(*each.shape[:-1], *shape) for each in values))


def scatter(fit: FrameFit, angle: int, order: int) -> torch.Tensor:
    """(P,) variance of real and imaginary part together of the amplitudes of an angle's frames, harmonic `order`.

    By the noise of pixels, or by what frames of other angles have at that wave vector, if that is more: they have no
    such stripes, but a specimen that moves, or a guess of it that is not quite right, leaves something there too.
    """
    own = 2 * fit.amplitude_sigma[order - 1, angle].square()
    others = torch.cat(
        [fit.elsewhere[order - 1, :angle].flatten(), fit.elsewhere[order - 1, angle + 1 :].flatten()]
    )
    if not len(others):
        return own
    # The median, for a few of them may have stripes nevertheless, where frames are out of order.
    return own.clamp(min=float(others.abs().square().median()) / math.log(2))


def phase_deviation(fit: FrameFit, angle: int, phase_rad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(P,) deviations of the frames' phases from the given ones up to a constant, and their standard deviations."""
    total, weights = torch.zeros_like(phase_rad), torch.zeros_like(phase_rad)
    for order, amplitude in enumerate(fit.amplitude[:, angle], start=1):
        sigma = (scatter(fit, angle, order) / 2).sqrt()
        turned = amplitude * torch.exp(-1j * order * phase_rad)
        deviation = (turned * turned.mean().conj()).angle() / order
        weight = (order * turned.mean().abs() / sigma).square()
        total, weights = total + weight * deviation, weights + weight
    deviation = total / weights
    return deviation - (weights * deviation).sum() / weights.sum(), weights.rsqrt()
