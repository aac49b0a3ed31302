"""Every recipe at full size on a GPU: does half precision agree with single, are slopes finite, how fast is it.

    python benchmarks/recipes/gpu.py    # prints a table

Weights are untrained and values random: nothing here says how well a recipe restores.
"""

import time
from collections.abc import Callable

import torch

from sim_models.recipes import NamedRecipe, find, names
from sim_models.samples import Sample

ANGLES, TIMES, SLICES = 3, 8, 4
EDGE_PX, VOLUME_PX = 128, 64
"""of a training crop"""
WIDER, VOLUME_WIDER = 4, 2
"""times the edge of the field whose restoration is timed"""
SECONDS = 0.6


def sample_of(recipe: NamedRecipe) -> Sample:
    """Two random crops; as many phases as were published, where that decides."""
    task, method = recipe.recipe.task, recipe.recipe.method
    phases = 5 if task.per == "stack" and recipe.published.frames == 15 else 3
    channels_in, channels_out = task.channels(ANGLES, phases, TIMES)
    slices, edge = ((SLICES,), VOLUME_PX) if task.input == "volume" else ((), EDGE_PX)
    given = torch.rand(2, channels_in, *slices, edge, edge)
    wanted = given if method.learns_from != "pairs" else torch.rand(2, channels_out, *[task.scale * edge] * 2)
    return Sample(given, wanted, torch.tensor([1, 2])).to(torch.device("cuda"))


def row(recipe: NamedRecipe) -> str:
    """A row of the table."""
    torch.manual_seed(0)
    torch.cuda.reset_peak_memory_stats()
    method, sample = recipe.recipe.method, sample_of(recipe)
    channels = method.channels(sample.input.shape[1], sample.target.shape[1])
    network = recipe.recipe.network.build(*channels, recipe.recipe.task.scale).cuda().train()
    with torch.autocast("cuda", torch.bfloat16):
        loss = torch.stack(list(method.loss(network, sample).values())).sum()
    loss.backward()
    finite = all(bool(each.grad.isfinite().all()) for each in network.parameters() if each.grad is not None)
    network.eval()
    with torch.inference_mode():
        single = method.restore(network, sample.input).float()
        with torch.autocast("cuda", torch.bfloat16):
            half = method.restore(network, sample.input).float()
        apart = float((single - half).square().mean().sqrt() / single.std().clamp(min=1e-9))
        times = VOLUME_WIDER if recipe.recipe.task.input == "volume" else WIDER
        wide = sample.input[:1].repeat(*[1] * (sample.input.ndim - 2), times, times)
        with torch.autocast("cuda", torch.bfloat16):
            seconds = timed(lambda: method.restore(network, wide))
    megapixels = wide.shape[-1] * wide.shape[-2] / 1e6
    memory = torch.cuda.max_memory_allocated() / 2**30
    return (
        f"| `{recipe.name}` | {recipe.parameters:,} | {'yes' if finite else 'NO'} | {apart:.4f} | "
        f"{1e3 * seconds / megapixels:.1f} | {memory:.2f} |"
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call, on average over some."""
    for _ in range(2):
        work()
    torch.cuda.synchronize()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        work()
        torch.cuda.synchronize()
        calls += 1
    return (time.perf_counter() - started) / calls


def main() -> None:
    """Print the table."""
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print(
        "| recipe | parameters | slopes finite in bf16 | bf16 against fp32 | ms per raw megapixel, bf16 | GiB |"
    )
    print("|---|---|---|---|---|---|")
    for name in names():
        print(row(find(name)), flush=True)


if __name__ == "__main__":
    main()
