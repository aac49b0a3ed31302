"""docs/tutorial.md, block by block, in a copy of the repository, with fewer cells and steps."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)

SMALLER = {
    r"steps: 2000": "steps: 12",
    r"validate_every: 50": "validate_every: 6",
    r"steps: 600, validate_every: 6": "steps: 12, validate_every: 6",
    r"steps: 60, warmup_steps: 5": "steps: 6, warmup_steps: 2",
    r"validate_every: 10": "validate_every: 3",
    r"warmup_steps: 20": "warmup_steps: 2",
    r"trials: 32": "trials: 3",
    r"random_trials: 8": "random_trials: 2",
    r"rungs: \[20, 40\]": "rungs: [3]",
    r"finalists: 3": "finalists: 1",
    r"seeds: \[1, 2, 3\]": "seeds: [1, 2]",
    r"width: 16": "width: 4",
    r"cells: 24": "cells: 5",
    r"split: {val: 0.27, test: 0.27": "split: {val: 0.2, test: 0.2",
    r"resamples: 5000": "resamples: 100",
}
"""in params.yaml, so that it takes minutes"""


def blocks(page: str) -> list[str]:
    """The commands of a page; blocks of other languages show what is printed."""
    return re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git knows of the repository, as it is now, with an environment that is ready."""
    home = tmp_path_factory.mktemp("tutorial")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=repository, capture_output=True, check=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        source = repository / name
        if source.exists() or source.is_symlink():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, home / name, follow_symlinks=False)
    # Of its own but for its programs, and ready: `make setup` would point the one we run in to this copy.
    (home / ".venv").mkdir()
    (home / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
    (home / ".venv" / ".ready").touch()
    params = home / "studies" / "own_stacks" / "params.yaml"
    text = params.read_text()
    for long, short in SMALLER.items():
        text, count = re.subn(long, short, text)
        assert count, long
    params.write_text(text)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        subprocess.run(git, cwd=home, check=True, capture_output=True)
    return home


@pytest.fixture(scope="module")
def said(copy: Path) -> list[str]:
    """What every block printed, one after the other in one shell."""
    page = (copy / "docs" / "tutorial.md").read_text()
    mark = "==== block ===="
    script = "set -euo pipefail\n" + "".join(f"echo '{mark}'\n{block}" for block in blocks(page))
    own = {
        "PYTHONPATH": str(copy),
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b.c",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b.c",
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=copy, env=os.environ | own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.split(f"{mark}\n")[1:]


def test_every_block_runs(said: list[str], repository: Path) -> None:
    assert len(said) == len(blocks((repository / "docs" / "tutorial.md").read_text()))


def test_the_order_of_the_frames_is_found(said: list[str]) -> None:
    assert "3 angles x 3 phases, phase-major" in said[1]
    assert "stacks say phase-major" in said[2]


def test_a_model_is_registered_with_its_licence_and_parent(said: list[str], copy: Path) -> None:
    assert "own-mine" in said[5]
    assert "Licence of the data: one's own data." in said[5]
    assert (copy / "studies" / "own_stacks" / "reports" / "index.html").exists()
    assert (copy / "restored.tif").exists()
    assert (copy / "cell_00.png").exists()


def test_more_cells_touch_only_what_depends_on_them(said: list[str]) -> None:
    """Of the two stages that are asked for, that of the simulated structure has nothing to do."""
    assert "more cells" in said[7]
    assert "cells that were there stay where they were" in said[7]
    assert "bring_in@mine" in said[7]
    assert "prepare@microtubules" not in said[7]
