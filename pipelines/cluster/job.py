"""Entry point on the cluster: reproduce stages in a folder that all nodes see, and push what came out.

`python -m pipelines.cluster.job STAGE...`, in the folder that was uploaded. It works in a copy of its own, since Ray
keeps one folder for all jobs that uploaded the same. DVC's cache and the folder in which an interrupted stage keeps
what it needs to go on lie beside, so the next job finds them, also after this one was killed.
"""

import os
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path

from pipelines.cluster.checks import STORAGE
from pipelines.cluster.run_cache import push_uncached
from pipelines.shared.dvc_command import dvc
from pipelines.shared.stage import RUNS, exit_code
from sim_models.config import BadInput, WorkFailed

KEPT_S = 30 * 24 * 3600.0
"""as long as the folder of a job that failed is kept, for people to look at"""


def main() -> None:
    """`python -m pipelines.cluster.job [--study FOLDER] STAGE...`."""
    words = sys.argv[1:]
    study = "."
    if words[:1] == ["--study"]:
        study, words = words[1], words[2:]
    sys.exit(exit_code(lambda: reproduce(study, words)))


def reproduce(study: str, stages: list[str]) -> None:
    """Pull what the stages need, reproduce them, push them with DVC's run cache.

    Raises:
        BadInput: if there is no stage to reproduce.
        WorkFailed: if DVC ended badly.
    """
    if not stages:
        raise BadInput("name the stages, as train@microtubules")
    name = os.environ.get("RAY_JOB_SUBMISSION_ID") or f"by_hand_{uuid.uuid4().hex[:8]}"
    place = storage()
    home = place / "jobs" if place else Path(tempfile.gettempdir()) / "sim_models_jobs"
    clear_old(home)
    folder = working_copy(Path(), home / name, place)
    here = folder / study
    if not (here / "dvc.yaml").exists():
        shutil.rmtree(folder)
        raise BadInput(f"{study}: has no dvc.yaml among what was uploaded")
    # The `python` of the stages is the one that runs this, and their code is that of the copy.
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join([str(folder.resolve()), os.environ.get("PYTHONPATH", "")]).rstrip(
            os.pathsep
        ),
        "PYTHONUNBUFFERED": "1",
    }
    for made in ("transfers", "reports/transfers", "reports/carried"):
        # What a report of everything depends on, though there may be nothing in it.
        if (here / "params.yaml").exists() and (folder / "sim_models").exists():
            (here / made).mkdir(parents=True, exist_ok=True)
    steps = {
        "pulling what is needed, and reproducing": ["repro", "--pull", *stages],
        "pushing results with the run cache": ["push", "--run-cache", "--with-deps", *stages],
    }
    for number, (step, arguments) in enumerate(steps.items(), 1):
        print(f"[{number}/{len(steps)}] {step}: dvc {' '.join(arguments)}", flush=True)
        ended = dvc(arguments, here, environment=environment)
        if ended.code:
            raise WorkFailed(
                f"dvc {' '.join(arguments)} ended with code {ended.code} ({ended.reason}); its folder is "
                f"{folder.resolve()} on the cluster, and the same submission goes on where it stood"
            )
    push_uncached(here, stages)
    shutil.rmtree(folder, ignore_errors=True)


def storage() -> Path | None:
    """The folder that all nodes see, if one was named.

    Raises:
        BadInput: if it is relative.
    """
    named = os.environ.get(STORAGE)
    if not named:
        return None
    if not named.startswith("/") or '"' in named:
        raise BadInput(
            f"{STORAGE} is {named!r}; give a folder that all nodes see, from the root: /shared/sim-models"
        )
    return Path(named)


def clear_old(home: Path) -> None:
    """Remove folders of jobs that failed long ago; what lets a stage go on does not lie in them."""
    oldest = time.time() - KEPT_S
    for folder in home.glob("*"):
        if folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def working_copy(uploaded: Path, target: Path, place: Path | None) -> Path:
    """Copy what was uploaded to `target`, as a DVC project without git; cache and unfinished work at `place`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(uploaded, target, ignore=shutil.ignore_patterns("__pycache__"))
    settings = ["[core]", "    no_scm = true", "    analytics = false", "    autostage = false"]
    if place is not None:
        # A copy of terabytes for every job would be too much; DVC takes links only where they can be had.
        settings += ["[cache]", f'    dir = "{place / "dvc_cache"}"', "    type = reflink,hardlink,copy"]
        for project in {found.parent for found in target.rglob("dvc.yaml")}:
            kept = place / "runs" / project.relative_to(target)
            kept.mkdir(parents=True, exist_ok=True)
            (project / RUNS).symlink_to(kept)
    (target / ".dvc").mkdir(exist_ok=True)
    (target / ".dvc" / "config.local").write_text("\n".join(settings) + "\n")
    return target


if __name__ == "__main__":
    main()
