"""A first guess of the object from the wide-field: Richardson-Lucy deconvolution.

Its virtue here is that light is never negative. Dark places stay dark, so the guess holds true detail
finer than a linear filter of the same image could give, and stripes are recognised in far less light.
"""

import torch


def richardson_lucy(
    electrons: torch.Tensor, otf: torch.Tensor, read_variance: float, iterations: int
) -> torch.Tensor:
    """Object (Y, X), not negative, whose image under `otf` is most likely `electrons` (Y, X).

    Richardson, J. Opt. Soc. Am. 62 (1972) 55, and Lucy, Astron. J. 79 (1974) 745; accelerated as by
    Biggs and Andrews, Appl. Opt. 36 (1997) 1766, eq. 8 to 11. Read noise counts as Poisson noise of the
    same variance: `read_variance` is added to data and model (Snyder et al., J. Opt. Soc. Am. A 10 (1993) 1014).

    Args:
        electrons: photo-electrons above the offset, with Poisson noise; negative values are allowed.
        otf: (Y, X), in the order of `torch.fft.fft2`, even.
        read_variance: photo-electrons squared.
        iterations: number of steps; late ones sharpen noise.
    """
    half = otf[:, : otf.shape[1] // 2 + 1]

    def blurred(image: torch.Tensor) -> torch.Tensor:
        passed: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * half, s=image.shape)
        return passed

    data = (electrons + read_variance).clamp(min=0)
    faintest = 1e-6 * data.mean().clamp(min=1e-30)
    estimate = torch.full_like(electrons, float(electrons.mean().clamp(min=faintest)))
    predicted, previous, previous_change = estimate, None, None
    for _ in range(iterations):
        model = blurred(predicted).add_(read_variance).clamp_(min=faintest)
        estimate = blurred(torch.div(data, model, out=model)).clamp_(min=0).mul_(predicted)
        change = (estimate - predicted).flatten()
        if previous is None or previous_change is None:
            predicted = estimate
        else:
            square = torch.dot(previous_change, previous_change).clamp(min=1e-30)
            pace = (torch.dot(change, previous_change) / square).clamp(0, 1)
            predicted = torch.lerp(previous, estimate, 1 + pace).clamp_(min=0)
        previous, previous_change = estimate, change
    return estimate
