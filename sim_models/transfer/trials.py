"""Run fine-tuning trials as Ray tasks, a stretch of steps at a time.

A batch of crops depends on seed and step alone, so a trial may be set down after any stretch and
taken up again by another worker: nothing has to stay alive between two rungs.
"""

import ray
import torch

from sim_models.freeze import trainable_share
from sim_models.training.distributed import resources
from sim_models.training.job import Job, lay_out
from sim_models.training.loop import State, train
from sim_models.transfer.search import Stretch


def advance(jobs: list[Job], states: list[State | None], until: int) -> list[Stretch]:
    """Train every job to step `until`, in parallel as far as the cluster reaches."""
    on_gpu = resources().get("GPU", 0) >= 1
    task = _advance.options(num_cpus=1, num_gpus=1 if on_gpu else 0)
    references = [
        task.remote(job.model_dump_json(), state, until) for job, state in zip(jobs, states, strict=True)
    ]
    stretches: list[Stretch] = ray.get(references)
    return stretches


@ray.remote(max_retries=3)
def _advance(job_json: str, state: State | None, until: int) -> Stretch:
    torch.set_num_threads(1)
    job = Job.model_validate_json(job_json)
    bench = lay_out(job)
    if torch.cuda.is_available():
        bench.network.to("cuda")
    state = train(
        bench.network,
        job.recipe.method,
        bench.samples,
        bench.validation,
        job.training,
        state or bench.start(),
        until,
    )
    bench.verify_frozen(state.weights)
    return Stretch(state, trainable_share(bench.network))
