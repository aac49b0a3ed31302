"""The benchmark of recipes: what its page says follows from the scores, on reports that are made up."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines.shared.params import Params, read_params
from sim_models.config import parse

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "recipes"
sys.path.insert(0, str(FOLDER))  # its files are scripts, no package

import cost  # noqa: E402
import outcome  # noqa: E402
import picture  # noqa: E402

CELLS, LEVELS = 6, ("low", "high")
METRICS = {
    "psnr_targetrange_noscale": 1.0,
    "psnr_targetrange_affine": 1.0,
    "ssim_targetrange_noscale": 0.01,
    "decorrelation_um": -0.01,
    "consistency_chi2_raw": -0.1,
    "consistency_flagged_percent_raw": -0.1,
}
"""and by how much each changes where an image is better by one"""
GOODNESS = {
    "microtubules_wiener_nafnet": 5.0,
    "microtubules_rdl_sr": 4.0,
    "microtubules_rdl_sr_faithful": 2.0,
    "microtubules_unet_sim3": 0.5,
    "microtubules_unet_sim3_faithful": 7.0,
    "microtubules_red_fairsim_faithful": 5.0,
    "microtubules_deconoising": 2.0,
    "reconstruction": 3.0,
    "bicubic": 1.0,
    "widefield": 0.0,
}
COST = cost.Cost(parameters=12345, gflop=67.0, seconds=8.0)


def load(name: str) -> ModuleType:
    """Under a name of its own, since the other benchmark has a document too."""
    spec = importlib.util.spec_from_file_location(f"recipes_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


document = load("document")


def scores(key: str) -> pd.DataFrame:
    """Of one model and the baselines; `pre_red` as published differs from ours by noise alone."""
    random = np.random.default_rng(len(key))
    rows = []
    for arm in ("scratch", "widefield", "bicubic", "reconstruction"):
        name = key if arm == "scratch" else arm
        for cell in range(CELLS):
            for level in LEVELS:
                noise = random.normal(0, 0.5 if "pre_red" in name else 0.05)
                for metric, slope in METRICS.items():
                    if metric == "decorrelation_um" and cell == 0:
                        continue
                    value = 20 + slope * (GOODNESS[name] + noise + (level == "high")) + slope * cell
                    rows.append(("microtubules", f"cell_{cell:03d}", level, arm, metric, value))
    return pd.DataFrame(rows, columns=["structure", "cell", "level", "arm", "metric", "value"])


@pytest.fixture(scope="module")
def params(repository: Path) -> Params:
    values: Any = yaml.safe_load((repository / "studies" / "recipes" / "params.yaml").read_text())
    values["models"] = {key: values["models"][key] for key in GOODNESS if key in values["models"]}
    values["structures"] = {"microtubules": values["structures"]["microtubules"]}
    values["derived"] = {}
    return parse(Params, values, "made up")


@pytest.fixture(scope="module")
def study(params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "recipes"
    for key in params.models:
        details = folder / "reports" / "models" / key / "details"
        details.mkdir(parents=True)
        scores(key).to_csv(details / "scores.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def table(study: Path, params: Params) -> outcome.Table:
    (made,) = outcome.tables(study, params, dict.fromkeys(params.models, COST))
    return made


@pytest.fixture(scope="module")
def page(study: Path, params: Params) -> str:
    told: str = document.page(study, params, dict.fromkeys(params.models, COST), "picture.png")
    return told


def test_rows_are_sorted_and_compared_with_ours(table: outcome.Table) -> None:
    means = [row.overall["psnr_targetrange_noscale"].mean for row in table.rows]
    assert means == sorted(means, reverse=True)
    assert table.rival == table.ours == "microtubules_wiener_nafnet"
    row = table.row("microtubules_rdl_sr")
    assert row is not None
    assert row.minus is not None
    assert row.minus.mean == pytest.approx(-1, abs=0.1)
    assert row.psnr["high"].mean - row.psnr["low"].mean == pytest.approx(1, abs=0.1)
    assert {row.version for row in table.rows} == {"ours", "corrected", "as published", "baseline"}


def test_the_verdict_counts_only_what_intervals_exclude(table: outcome.Table, params: Params) -> None:
    count, affine, corrected = document.verdict(table, params.evaluation.bootstrap)
    assert "beats 1 of 3 recipes as published" in count
    assert "cannot be told from red_fairsim;" in count
    assert "worse than unet_sim3." in count
    assert "beats 1 of 3" in affine
    assert corrected == "Of 2 corrected ones none is better, and none cannot be told from it."


def test_without_recipes_as_published_nothing_is_claimed(table: outcome.Table, params: Params) -> None:
    rows = tuple(row for row in table.rows if row.version != "as published")
    alone = outcome.Table(table.structure, table.scores, rows, table.rival)
    said, corrected = document.verdict(alone, params.evaluation.bootstrap)
    assert said.endswith("no recipe as published is in this study.")
    assert corrected.startswith("Of 2 corrected ones")


def test_what_got_worse_is_told(page: str) -> None:
    worse = page[page.index("## What got worse") :]
    assert "unet_sim3 corrected is worse than as published: PSNR (dB) −6" in worse
    assert "low light: worse than bicubic by PSNR: unet_sim3." in worse
    assert "low light: worse than classical SIM by PSNR: rdl_sr as published, unet_sim3." in worse
    assert "wiener_nafnet is worse than unet_sim3 (as published)" in worse
    assert "rdl_sr corrected" not in worse


def test_the_page_has_every_row_once(page: str) -> None:
    of_pairs = page[page.index("## Microtubules") : page.index("## Without pairs")]
    lines = [line for line in of_pairs.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == len(GOODNESS) - 1
    assert len({line.count(" | ") for line in lines}) == 1
    first = next(line for line in lines if line.startswith("| **wiener_nafnet**"))
    assert "| 12,345 | 67 | 8 |" in first
    assert "(10 of 12)" in first
    assert "| deconoising | corrected |" in page[page.index("## Without pairs") :]
    assert "](picture.png)" in page


def test_the_picture_names_every_recipe_apart(table: outcome.Table, params: Params, tmp_path: Path) -> None:
    assert picture.draw([table], params.evaluation.bootstrap, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000
    heights = picture._spread([0.1, 0.1, 0.11, 0.99, 0.99])
    assert min(np.diff(heights)) > 0.05
    assert heights[-1] <= 1


def test_costs_are_for_a_megapixel_and_hold_what_comes_before(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = read_params(repository / "studies" / "recipes" / "params.yaml")
    chosen = ("er_unet_fairsim", "er_rdl_sr", "er_rdl_denoise", "vesicles_lapse_tis_rdl", "er_deconoising")
    params = params.model_copy(update={"models": {key: params.models[key] for key in chosen}})
    monkeypatch.setattr(cost, "REPEATS", 1)
    monkeypatch.setattr(cost, "EDGE_PX", 32)
    monkeypatch.setattr(cost, "classical_seconds", lambda _: 1000.0)
    found = cost.costs(params)
    assert found["er_unet_fairsim"].parameters == 491_977
    assert [key for key in chosen if found[key].seconds > 1000] == ["er_unet_fairsim", "er_rdl_denoise"]
    cost.network_cost.cache_clear()
    denoiser = params.models["er_rdl_denoise"].recipe.in_full().model_dump_json()
    own = cost.network_cost(denoiser, cost.layout_of(params, "er"))
    assert found["er_rdl_denoise"].gflop == pytest.approx(own.gflop + found["er_rdl_sr"].gflop)
    cost.network_cost.cache_clear()
