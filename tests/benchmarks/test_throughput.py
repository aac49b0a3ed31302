"""The benchmark of throughput runs, at a size that says nothing about speed, and its page says what was measured."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "throughput"
sys.path.insert(0, str(FOLDER))  # its files are scripts, no package

import made_fields  # noqa: E402
import page  # noqa: E402
import speed  # noqa: E402
from waiting import Plan, Wait  # noqa: E402

from sim_models.config import BadInput  # noqa: E402
from sim_models.sources.prepared import Prepared  # noqa: E402
from sim_models.training.job import lay_out  # noqa: E402
from sim_models.training.place import Place  # noqa: E402

LOAD = speed.Load(batch=2, crop_px=32, steps=1, repeats=2, small=True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    made_fields.write(folder, 3, 40)
    return folder


def test_made_fields_are_prepared_fields_in_any_number(dataset: Path) -> None:
    assert [field.cell for field in Prepared.open(dataset).fields("train")] == list(made_fields.cell_names(3))
    made_fields.seal(dataset, 2)
    assert len(Prepared.open(dataset).fields("train")) == 2
    made_fields.seal(dataset, 3)


@pytest.mark.parametrize("name", list(speed.NETWORKS))
def test_every_network_can_be_trained_on_them(dataset: Path, name: str) -> None:
    """Small and as published; a batch of each is all there is time for."""
    for small in (True, False):
        load = speed.Load(LOAD.batch, LOAD.crop_px, LOAD.steps, LOAD.repeats, small)
        bench = lay_out(speed.job_of(name, load, dataset))
        assert bench.samples.batch(0, 2, 32, 1, speed.Share()).input.shape[-1] == 32
    # Two stretches that count, and one that does not.
    assert bench.job.training.steps == 3


@pytest.mark.timeout(600)  # seconds, where nobody else computes
def test_a_run_of_the_script(tmp_path: Path) -> None:
    """Without Ray, whose start takes as long as the rest."""
    words = (
        "--networks unet_fairsim --batch 2 --crop 32 --steps 1 --repeats 2 --rounds 0 --fields 2 --crops 16"
    )
    page_path = tmp_path / "page.md"
    done = subprocess.run(
        [sys.executable, str(FOLDER / "bench.py"), *words.split(), "--out", str(page_path)],
        capture_output=True,
        text=True,
        cwd=FOLDER.parents[1],
    )
    assert done.returncode == 0, done.stderr
    text = page_path.read_text()
    assert "| U-Net | 1 |" in text
    assert "| 2 | 16 px |" in text
    assert "DFCAN" not in text


def test_a_crop_that_does_not_fit_is_refused_before_workers_start(dataset: Path, tmp_path: Path) -> None:
    load = speed.Load(2, 24, 1, 2, True)
    with pytest.raises(BadInput, match="multiples of 32"):
        speed.speed_of("unet_fairsim", load, Place(1, 1), dataset, tmp_path / "run", False, matrices=False)


def test_the_first_stretch_does_not_count(tmp_path: Path) -> None:
    meter = speed.Meter(tmp_path / "looks", "float32", matrices=False)
    for step, seconds in ((2, 9.0), (4, 10.0), (6, 13.0)):
        meter(step, {"seconds": seconds, "data_wait_seconds": seconds / 10 + step})
    assert meter.stretches() == [(0.5, 0.0), (1.5, 0.0)]
    assert meter.waited() == pytest.approx((0.4 + 4) / 4)
    assert meter.peak_bytes() > 0


def test_the_matrix_rate_is_that_of_this_device() -> None:
    """Within a factor of a thousand of anything that computes today."""
    torch.set_num_threads(1)
    assert 1e7 < speed.matrix_rate("float32") < 1e15


def test_the_page_tells_what_was_measured_and_nothing_else() -> None:
    found = speed.Speed("rdl_sr", Place(2, 1), (30.0, 10.0, 20.0), (0.3, 0.1, 0.2), 0.0123, 5 * 2**20)
    text = "\n".join(page.speeds([found]))
    assert "| DFCAN | 2 | 20 [10, 30] | 20% [10%, 30%] | 1.23% | 5 MiB |" in text
    waited = Wait(10, 64, 1.25, 0.25, 0.001, 3.0, 2**20, 2**21)
    text = "\n".join(page.waiting([waited], Plan((10,), (64,), 4, 0.02, 40, 1.0, 1), 72))
    assert "| 10 | 64 px | 1.2 ms | 25.0% | 0.1% | 3.0 s | 1 MiB | 2 MiB |" in text
    assert "1.50 [1.00, 2.00] times" in "\n".join(page.scaling("wiener_nafnet", (1.0, 2.0), LOAD))
    assert page.head(LOAD, with_ray=False, words=(), busy=0.5)[0].startswith("# ")
