"""Examples are what networks see, whatever a method makes of a sample."""

from collections.abc import Callable

import numpy as np
import pytest

from sim_models.compression.prune import Recovery
from sim_models.compression.steps import Steps, compressed
from sim_models.restorer import Restorer


@pytest.mark.parametrize("name", ["sis_rdl", "tis_rdl"])
def test_volumes_as_slices_and_as_halves_of_a_series(
    untrained: Callable[..., Restorer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen: list[tuple[int, ...]] = []

    def recovered(network: object, _: object, tiles: list[np.ndarray], *__: object) -> object:
        seen.extend(tile.shape for tile in tiles)
        return network

    monkeypatch.setattr("sim_models.compression.steps.recovered", recovered)
    steps = Steps(
        int8=None,
        pruned_share=0.25,
        recovery=Recovery(steps=1, batch=1, learning_rate=1e-3, seed=0),
        tiles=6,
        tile_px=16,
        seed=0,
    )
    volume = np.random.default_rng(0).uniform(5, 50, (4, 3, 20, 24)).astype(np.float32)
    compressed(untrained(name, weights=0.1), [{"volume": volume}], steps)
    assert seen == 6 * [({"sis_rdl": 1, "tis_rdl": 2}[name], 3, 16, 16)]
