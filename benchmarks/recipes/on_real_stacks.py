"""Models of the benchmark on real raw stacks of others: pictures to look at, and what the frames say of each image.

    python benchmarks/recipes/on_real_stacks.py [STUDY] [FOLDER]    # docs/real_stacks_recipes.md, pictures in FOLDER

STUDY is studies/recipes, FOLDER build/real_stacks_recipes unless given. The stacks are not shipped: see
`benchmarks/recon/real_stacks.py`, whose table this takes.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from matplotlib.figure import Figure
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "benchmarks" / "recon"))

from real_stacks import REAL_DATA, STACKS, Stack  # noqa: E402

from sim_models.evaluation.squirrel import squirrel  # noqa: E402

SHOWN = {
    "mitochondria": "er",
    "microtubules, TIRF": "microtubules",
    "endoplasmic reticulum 1": "er",
}
"""stacks of 3 x 3 frames, each with the structure of the benchmark that is most like it"""

RECIPES = ("wiener_nafnet", "unet_fairsim", "rdl_sr", "unet_sim3", "sr_redsim", "pre_red", "rdl_denoise")
"""what goes with stripes; --reconstruct is for those that give frames"""
OF_FRAMES = ("pre_red", "rdl_denoise")

SAID = re.compile(r"contradict (\S+) % of it, and differ from what it would give by (\S+) times")


@dataclass(frozen=True)
class Row:
    """What came of one stack by one recipe."""

    recipe: str
    image: NDArray[np.float64] | None
    contradicted: str
    chi2: str
    rsp: float | None
    refused: str = ""


def options(stack: Stack) -> list[str]:
    """What `restore` takes of what is known."""
    known, wanted = list(stack.options), ("--na", "--emission-um", "--pixel-um", "--offset")
    return [
        part
        for name, value in zip(known[::2], known[1::2], strict=True)
        if name in wanted
        for part in (name, value)
    ]


def restored(stack: Stack, recipe: str, model: Path, out: Path) -> Row:
    """Restore a stack by the command line."""
    command = ["sim-models", "restore", str(REAL_DATA / stack.path), "--model", str(model), "-o", str(out)]
    command += [*options(stack), "--check", *(["--reconstruct"] if recipe in OF_FRAMES else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    print(f"{out.name}: {done.stdout}{done.stderr}", end="", flush=True)
    if done.returncode:
        return Row(recipe, None, "-", "-", None, done.stderr.strip().splitlines()[-1])
    image = first(out)
    said = SAID.search(done.stdout)
    contradicted, chi2 = said.groups() if said else ("-", "-")
    return Row(recipe, image, contradicted, chi2, squirrel(image, widefield(stack), border_px=8).rsp)


def reconstruction(stack: Stack, out: Path) -> Row:
    """Classical SIM of a stack, by the command line."""
    command = ["sim-models", "reconstruct", str(REAL_DATA / stack.path), "-o", str(out), *stack.options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return Row("classical SIM", None, "-", "-", None, done.stderr.strip().splitlines()[-1])
    image = first(out)
    return Row("classical SIM", image, "-", "-", squirrel(image, widefield(stack), border_px=8).rsp)


def first(path: Path) -> NDArray[np.float64]:
    """(Y, X) of a file."""
    images: NDArray[np.float64] = tifffile.imread(path).astype(float)
    return images.reshape(-1, *images.shape[-2:])[0]


def widefield(stack: Stack) -> NDArray[np.float64]:
    """Mean of the frames."""
    from sim_models.images import read

    data = np.asarray(read(REAL_DATA / stack.path).data, float)
    mean: NDArray[np.float64] = data.reshape(-1, *data.shape[-2:]).mean(axis=0)
    return mean


def save_picture(name: str, stack: Stack, rows: list[Row], path: Path) -> None:
    """A detail of every image side by side: the brightest 64 x 64 raw pixels."""
    wide = widefield(stack)
    edge = min(64, *wide.shape)
    top, left = _brightest(wide, edge)
    shown = [row for row in rows if row.image is not None]
    figure = Figure(figsize=(3.2 * ((len(shown) + 2) // 2), 6.8), layout="constrained")
    axes: Any = figure.subplots(2, (len(shown) + 2) // 2).ravel()
    for each in axes:
        each.set_axis_off()
    _show(axes[0], wide[top : top + edge, left : left + edge], "wide-field")
    for place, row in zip(axes[1:], shown, strict=False):
        assert row.image is not None
        scale = row.image.shape[0] // wide.shape[0]
        part = row.image[scale * top : scale * (top + edge), scale * left : scale * (left + edge)]
        _show(place, part, f"{row.recipe}\n{row.contradicted} % contradicted, chi2 {row.chi2}")
    figure.suptitle(name)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def _brightest(image: NDArray[np.float64], edge: int) -> tuple[int, int]:
    sums = np.cumsum(np.cumsum(np.pad(image, ((1, 0), (1, 0))), axis=0), axis=1)
    boxes = sums[edge:, edge:] - sums[:-edge, edge:] - sums[edge:, :-edge] + sums[:-edge, :-edge]
    row, column = np.unravel_index(int(boxes.argmax()), boxes.shape)
    return int(row), int(column)


def _show(axes: Any, image: NDArray[np.float64], title: str) -> None:
    low, high = np.percentile(image, [0.5, 99.7])
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=9)


def main() -> None:
    """Write the page and the pictures."""
    study = Path(sys.argv[1] if len(sys.argv) > 1 else REPOSITORY / "studies" / "recipes")
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else REPOSITORY / "build" / "real_stacks_recipes")
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, structure in SHOWN.items():
        stack, short = STACKS[name], name.replace(", ", "_").replace(" ", "_")
        rows = [reconstruction(stack, folder / f"{short}_classical.ome.tif")]
        for recipe in RECIPES:
            model = study / "models" / f"{structure}_{recipe}"
            rows.append(restored(stack, recipe, model, folder / f"{short}_{recipe}.ome.tif"))
        save_picture(name, stack, rows, folder / f"{short}.png")
        for row in rows:
            rsp = "-" if row.rsp is None else f"{row.rsp:.3f}"
            what = row.recipe if not row.refused else f"{row.recipe}: {row.refused}"
            lines.append(f"| {name} | {what} | {structure} | {row.contradicted} | {row.chi2} | {rsp} |")
    (REPOSITORY / "docs" / "real_stacks_recipes.md").write_text(
        HEAD.format(date=date.today()) + "\n".join(lines) + "\n"
    )


HEAD = """# Models of the benchmark on real stacks of other labs

From `python benchmarks/recipes/on_real_stacks.py` on {date}, which also draws pictures of every row. The models
are those of [benchmark_recipes.md](benchmark_recipes.md): a quarter of their published size, trained for a
minute or so on simulated cells of one microscope, with pixels of 65 nm and stripes of 200 nm. These stacks
are of other microscopes, whose stripes lie elsewhere. No truth is known. What can be said is how much of an
image its raw frames contradict (gain and offset are free), and how well it agrees with the wide-field (RSP):
necessary, not sufficient.

Looked at on 27 November 2026: on the dim TIRF stack `wiener_nafnet` draws fine filaments into noise, most of
them along one direction, which the check flags; `unet_fairsim` leaves noise as it is. Networks that take raw
frames alone do not know these stripes: `rdl_sr` and `sr_redsim` are hardly sharper than the wide-field, and
`unet_sim3` lays a chequerboard over it. On the bright ER all sharpen or clean what is there and none invents
tubules, but those of raw frames make them too thick, which is what contradicts the frames. Denoisers of raw
frames (`pre_red`, `rdl_denoise`) change little, and are not contradicted on these two stacks; on the
mitochondria, whose stripes are uneven and which move, all are.

| stack | recipe | trained on | contradicted, % | chi-squared | RSP |
|---|---|---|---|---|---|
"""


if __name__ == "__main__":
    main()
