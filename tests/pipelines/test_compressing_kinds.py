"""`sim-models compress` over every named recipe: near the model it was made from, or one sentence that says why not."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.own_files import compressing
from sim_models.field import Field, Image, Role
from sim_models.images import write_ome
from sim_models.onnx_network import OnnxNetwork
from sim_models.recipes import find, names
from sim_models.restorer import Restorer

Make = Callable[..., Restorer]
Run = Callable[..., Any]

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 10, "depth": 2},
    "scunet": {"unet": {"width": 10, "depth": 2}},
    "rednet": {"filters": 12, "pairs": 2},
    "nafnet": {"width": 12, "encoder": [1], "decoder": [1]},
    "rdl_denoiser": {"width": 16, "blocks": 1, "pattern_groups": 1, "noisy_groups": 1, "joint_groups": 1},
    "rcan3d": {"width": 16, "groups": 1, "blocks": 1},
    "dfcan": {"width": 16, "groups": 1, "blocks": 1, "taper_px": 2},
    "swin": {"width": 24, "groups": 1, "blocks": 2, "heads": 2, "window": 4},
}
"""what makes a network small, yet large enough that ten of a hundred channels are one at least"""


def small(untrained: Make, name: str) -> Restorer:
    """Weights as before training, but for those that begin as zeros, which would hide all others."""
    made = untrained(name, network=SMALL[find(name).recipe.network.name])
    torch.manual_seed(1)
    network = made.recipe.network.build(*made.channels, made.recipe.task.scale).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    upstream = small(untrained, "wiener_nafnet") if "synthetic" in made.recipe.task.roles else None
    return replace(
        made, network=network, upstream=upstream, full_modulation=None if upstream is None else False
    )


@pytest.fixture
def files(take: Callable[[int], Field], tmp_path: Path) -> Callable[[Restorer], list[Path]]:
    """Two files such as a model takes."""

    def write(restorer: Restorer) -> list[Path]:
        paths = [tmp_path / f"given{number}.ome.tif" for number in range(2)]
        for number, path in enumerate(paths):
            data, axes = given(np.asarray(take(number).image("raw")), restorer.recipe.task.roles)
            write_ome(path, data, axes, 0.065, {}, path.name)
        return paths

    return write


def given(raw: Image, roles: tuple[Role, ...]) -> tuple[Image, str]:
    """A small part where no stripes need be found."""
    if roles not in (("raw",), ("widefield",), ("volume",), ("blinking",)):
        return raw, "APYX"
    part = raw[..., 16:48, 16:48]
    if roles == ("volume",):
        return np.concatenate([part, part[:1]]), "TZYX"
    if roles == ("blinking",):
        return part[:2, :, :24, :24].reshape(6, 24, 24), "TYX"
    return part, "APYX"


WAYS: dict[str, tuple[list[str], float]] = {
    "int8": (["--int8"], 25.0),
    "pruned": (["--prune", "0.1", "--recover-steps", "20"], 10.0),
}
"""what is asked for, and dB by which what comes out is to be like what came out before"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", names())
def test_every_recipe_is_compressed(
    untrained: Make,
    files: Callable[[Restorer], list[Path]],
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    way: str,
) -> None:
    monkeypatch.setitem(compressing.FIXED, "tiles", 8)
    monkeypatch.setitem(compressing.FIXED, "tile_px", 32)
    monkeypatch.setattr(compressing, "milliseconds", lambda *_: (2.0, 1.0))  # times are tested elsewhere
    whole = small(untrained, name)
    whole.save(tmp_path / "model")
    words, fidelity_db = WAYS[way]
    optics = ["--na", "1.4", "--emission-um", "0.525", "--offset", "100"]
    out = tmp_path / "small"
    done = run(
        "compress", tmp_path / "model", *files(whole), "-o", out, *words, *optics,
        "--min-fidelity-db", fidelity_db, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    said = json.loads(done.out)
    made = Restorer.load(out)
    assert isinstance(made.network, OnnxNetwork)
    assert made.network.num_parameters == said["after"]["parameters"]
    assert (made.network.num_parameters < whole.network.num_parameters) == (way == "pruned")
