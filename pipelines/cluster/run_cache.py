"""DVC's run cache, where its commands do less than is needed.

`dvc push --run-cache` sends the records of what stages made, and files that DVC keeps; files of `cache: false`
(metrics, curves) are in the cache as well, but not sent, so a stage that has some could not be restored elsewhere.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.stage import PipelineStage, Stage
from dvc.stage.serialize import to_single_stage_lockfile

from pipelines.shared.dvc_command import with_lock
from sim_models.config import WorkFailed


def push_uncached(folder: Path, stages: Sequence[str]) -> None:
    """Send what stages and those before them have made to the remote, also what DVC does not keep.

    Raises:
        WorkFailed: if the remote does not take it.
    """
    with contextlib.chdir(folder):
        try:
            with_lock(lambda: _push(stages), Path())
        except DvcException as error:
            raise WorkFailed(f"results could not be pushed: {error}") from None


def _push(stages: Sequence[str]) -> None:
    with Repo() as repo, repo.lock:
        wanted = [stage for name in stages for stage in repo.stage.collect(name)]
        for stage in plan_repro(get_active_graph(repo.index.graph), wanted):
            made = _as_recorded(stage) if isinstance(stage, PipelineStage) and stage.cmd else None
            if made is not None:
                for objects in made.get_used_objs().values():
                    repo.cloud.push(objects)


def _as_recorded(stage: Stage) -> Stage | None:
    """A stage with all it made, as `dvc.lock` has it and as far as it is in the cache."""
    if not all(out.hash_info for out in stage.outs):
        return None
    made: Stage = stage.repo.stage_cache._create_stage(to_single_stage_lockfile(stage), wdir=stage.wdir)
    return made if made.outs_cached() else None


def fetch_made(stage: Stage) -> bool:
    """Fetch what the run cache knows a stage makes of what is here now; False where that cannot be had."""
    cache = stage.repo.stage_cache
    if any(out.persist for out in stage.outs):
        return False
    try:
        stage.save_deps()
        entry = cache._load(stage)
        if entry is None:
            return False
        made = cache._create_stage(entry, wdir=stage.wdir)
        for objects in made.get_used_objs().values():
            stage.repo.cloud.pull(objects)
        return bool(made.outs_cached())
    except (DvcException, AssertionError):
        return False
