"""What must stand in the environment before Ray, MLflow and torch are imported, and what many tests share."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Sockets lie in this folder and their paths may not be long, so pytest's own temporary folders will not do.
_RAY_FOLDER = tempfile.mkdtemp(prefix="ray")
os.environ |= {
    "DVC_NO_ANALYTICS": "1",
    "DVC_SITE_CACHE_DIR": _RAY_FOLDER,
    "OMP_NUM_THREADS": "1",
    "RAY_TMPDIR": _RAY_FOLDER,
    "SIM_MODELS_THREADS": "1",
}
for _variable in ("DVC_ROOT", "MLFLOW_TRACKING_URI", "RAY_ADDRESS", "SIM_MODELS_WORKERS"):
    os.environ.pop(_variable, None)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from sim_models.config import parse  # noqa: E402
from sim_models.field import Camera, Field, Illumination, Microscope  # noqa: E402
from sim_models.freeze import FreezeRange  # noqa: E402
from sim_models.normalise import Normaliser  # noqa: E402
from sim_models.recipe import Recipe  # noqa: E402
from sim_models.recipes import find, laid_over  # noqa: E402
from sim_models.restorer import Card, Restorer  # noqa: E402
from sim_models.samples import Share  # noqa: E402
from sim_models.sources import ome_fields  # noqa: E402
from sim_models.sources.prepared import Prepared  # noqa: E402
from sim_models.sources.split import Split  # noqa: E402
from sim_models.training.job import Job, lay_out  # noqa: E402
from sim_models.training.loop import TrainingSettings  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]
EDGE_PX = 32
"""of the raw frames of a toy field"""

torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors, but for those of others that no code of ours can avoid."""
    for warning in (
        "ignore::sqlalchemy.exc.SADeprecationWarning",
        "ignore:.*Any type hint is inferred as AnyType:UserWarning",  # MLflow, of a class of its own
        "ignore::DeprecationWarning:mlflow",
        "ignore::FutureWarning:mlflow",
        "ignore::DeprecationWarning:ray",
        "ignore::FutureWarning:ray",
    ):
        config.addinivalue_line("filterwarnings", warning)


def pytest_unconfigure() -> None:
    shutil.rmtree(_RAY_FOLDER, ignore_errors=True)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real acquisitions; they are too large and too variously licensed to ship."""
    folder = Path(os.environ.get("SIM_MODELS_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set SIM_MODELS_REAL_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def make_field() -> Callable[..., Field]:
    """Makes small fields in photons, as the stage `prepare` leaves them: discs under stripes, with noise."""

    def make(cell: int = 0, level: str = "high", photons: float = 200.0, structure: str = "discs") -> Field:
        random = np.random.default_rng([cell, len(level)])
        rows, columns = np.indices((2 * EDGE_PX, 2 * EDGE_PX))
        discs = np.random.default_rng(cell).uniform(4, 2 * EDGE_PX - 4, (6, 2))
        seen = [np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8) for row, column in discs]
        reference = photons * np.sum(seen, axis=0)
        blurred = reference.reshape(EDGE_PX, 2, EDGE_PX, 2).mean(axis=(1, 3))
        y, x = np.indices((EDGE_PX, EDGE_PX))
        angles, phases = np.pi * np.arange(3) / 3, 2 * np.pi * np.arange(3) / 3
        position = 2 * np.pi * (np.cos(angles)[:, None, None] * x + np.sin(angles)[:, None, None] * y) / 3.1
        stripes = 1 + 0.8 * np.cos(position[:, None] + phases[None, :, None, None])
        raw = random.poisson(blurred * stripes) + random.normal(0, 1.5, stripes.shape)
        return Field(
            dataset="toy",
            structure=structure,
            cell=f"cell_{cell:03d}",
            level=level,
            images={
                "raw": raw.astype(np.float32),
                "widefield": raw.mean(axis=(0, 1)).astype(np.float32),
                "reference": reference.astype(np.float32),
            },
            microscope=Microscope(
                numerical_aperture=1.4,
                refractive_index=1.518,
                emission_um=0.525,
                pixel_um=0.065,
                camera=Camera(gain=2.0, offset=100.0, read_noise=1.5),
            ),
            illumination=Illumination(
                angle_rad=tuple(angles),
                spacing_um=(3.1 * 0.065,) * 3,
                phase_rad=(tuple(phases),) * 3,
                modulation=((0.8,),) * 3,
            ),
            unit="photons",
        )

    return make


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory, make_field: Callable[..., Field]) -> Path:
    """Five cells at two light levels with their split: three to learn from, one to choose, one sealed."""
    folder = tmp_path_factory.mktemp("prepared") / "discs"
    for cell in range(5):
        for level, photons in {"low": 20.0, "high": 200.0}.items():
            ome_fields.write(folder, make_field(cell, level, photons))
    split = Split(train=("cell_000", "cell_001", "cell_003"), val=("cell_002",), test=("cell_004",))
    Prepared.seal(folder, "discs", split)
    return folder


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """A tiny U-Net, with batch normalisation since that is what interruptions and freezing may break."""
    return parse(
        Recipe,
        {
            "task": {
                "input": "raw",
                "frames": "all",
                "light": "all",
                "per": "stack",
                "target": "reference",
                "scale": 2,
            },
            "network": {
                "name": "unet",
                "width": 4,
                "depth": 2,
                "batch_norm": "running",
                "up": "nearest",
                "skip": "concatenate",
                "output": "linear",
                "enlarge": "after",
                "init": "he_zero_head",
            },
            "method": {"name": "supervised", "loss_terms": {"terms": {"l1": 1.0}}, "residual": "widefield"},
            "normaliser": {
                "scope": "stack",
                "kind": "percentile",
                "low_percent": 1.0,
                "high_percent": 99.9,
                "of": "mean",
                "target": "as_input",
            },
        },
        "recipe",
    )


@pytest.fixture(scope="session")
def training() -> TrainingSettings:
    return TrainingSettings(
        steps=8,
        batch=4,
        crop_px=16,
        learning_rate=0.005,
        weight_decay=0.0001,
        schedule="cosine",
        warmup_steps=2,
        clip_norm=1.0,
        validate_every=2,
        patience=100,
        augment="none",
        precision="float32",
        seed=3,
    )


@pytest.fixture(scope="session")
def job(prepared_folder: Path, recipe: Recipe, training: TrainingSettings) -> Job:
    """From random weights, nothing frozen."""
    return Job(
        recipe=recipe,
        training=training,
        dataset=str(prepared_folder),
        source=None,
        frozen=FreezeRange(start=0, end=0),
    )


@pytest.fixture
def restorer(job: Job) -> Restorer:
    """Untrained, but for statistics that are no longer those a network is born with."""
    bench = lay_out(job)
    for sample in bench.samples.whole(Share()):
        bench.network.train()(sample.input)
    bench.network.eval()
    return Restorer(job.recipe, bench.network, bench.normaliser, bench.card, bench.samples.channels)


TINY: dict[str, dict[str, Any]] = {
    "unet": {"width": 4, "depth": 2},
    "rednet": {"filters": 4, "pairs": 2},
    "nafnet": {"width": 4, "encoder": [1], "decoder": [1]},
    "rdl_denoiser": {"width": 16, "blocks": 1, "pattern_groups": 1, "noisy_groups": 1, "joint_groups": 1},
    "rcan3d": {"width": 16, "groups": 1, "blocks": 1, "noise_suppression": None},
}
"""what makes a network small"""


@pytest.fixture(scope="session")
def untrained() -> Callable[..., Restorer]:
    """Makes small restorers of named recipes for stacks of 3 x 3 frames: with weights by chance, or that give zero.

    Of those that give zero, what comes out is what a method adds it to.
    """

    def make(name: str, weights: float = 0.0, times: int = 4, **changes: Any) -> Restorer:
        usual = find(name).recipe.network.name
        network = {"network": TINY[usual]} if usual in TINY else {}
        recipe = find(name, change=laid_over(network, changes)).recipe
        channels = recipe.method.channels(*recipe.task.channels(3, 3, times))
        torch.manual_seed(0)
        built = recipe.network.build(*channels, recipe.task.scale).eval()
        for parameter in built.parameters():
            torch.nn.init.normal_(parameter, std=weights)
        images = [np.array([[0.0, 10.0], [20.0, 30.0]])]
        normaliser = Normaliser.fit(recipe.normaliser, images, images)
        card = Card(
            structure="discs",
            arm="scratch",
            angles=3,
            phases=3,
            pixel_um=0.065,
            unit="photons",
            light={"high": 200.0},
            training_cells=("cell_000",),
            split_hash="0" * 64,
            steps=1,
            parent=None,
            frozen_stages=(),
        )
        return Restorer(recipe, built, normaliser, card, channels)

    return make


@pytest.fixture(scope="session")
def _empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make a database, so one is made and copied for every test."""
    from sim_models.tracking.runs import client_of

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client_of(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlflow_root(_empty_database: Path, tmp_path: Path) -> Path:
    """A folder with an MLflow database in which nothing was logged yet."""
    shutil.copy(_empty_database, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture(autouse=True)
def _own_tracking_uri() -> Iterator[None]:
    """MLflow puts the address it was last told into the environment, where the next test would find it."""
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One Ray for all tests that need it, started as every stage starts it."""
    from sim_models.training.distributed import cluster

    with cluster():
        yield
