import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real acquisitions; they are too large and too variously licensed to ship."""
    folder = Path(os.environ.get("SIM_MODELS_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set SIM_MODELS_REAL_DATA to its folder")
    return folder
