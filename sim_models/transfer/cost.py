"""What a training costs: floating-point operations, which are the same on every machine."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from sim_models.samples import Sample, Share
from sim_models.training.job import LaidOut

TERA = 1e12


def step_operations(bench: LaidOut) -> float:
    """Floating-point operations of one training step over the global batch, forward and backward.

    Counted on a step that is done, so what is frozen is left out as torch leaves it out: no gradients of frozen
    weights, and no way back below the first stage that is trained. Counted are convolutions, matrix products and
    attentions; transforms and pointwise operations, which take time but little of it, are not.
    """
    training, network = bench.job.training, bench.network
    one = Share(0, training.batch)  # operations grow with the batch, so one crop of it is enough
    sample: Sample = bench.samples.batch(0, training.batch, training.crop_px, training.seed, one)
    network.eval()  # costs the same, and normalises a batch of one, and leaves its statistics as they are
    with FlopCounterMode(display=False) as counter:
        terms = bench.job.recipe.method.loss(network, sample)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    network.zero_grad(set_to_none=True)
    return float(training.batch * counter.get_total_flops())
