import pytest
import torch

from sim_models.networks.swin import Settings, SwinT

PUBLISHED = Settings(
    name="swin", width=96, groups=4, blocks=6, heads=6, window=8, drop_path=0.1, output="relu", faithful=True
)
SMALL = PUBLISHED.model_copy(
    update={"width": 8, "groups": 1, "blocks": 2, "heads": 2, "window": 4, "output": "linear"}
)


def build(**changes: object) -> SwinT:
    torch.manual_seed(0)
    return SMALL.model_copy(update=changes).build(1, 1, 1)


def test_published_parameter_count() -> None:
    with torch.device("meta"):
        network = PUBLISHED.build(1, 1, scale=1)
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_319_155


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="5 heads do not divide a width of 8"):
        Settings.model_validate(SMALL.model_dump() | {"heads": 5})


def reached(network: SwinT, row: int, column: int) -> torch.Tensor:
    """(Y, X) tokens of a field of 8 x 8 windows' quarters that reach one token through the first group's blocks."""
    tokens = torch.rand(1, 16, 16, 8, requires_grad=True)
    network.get_submodule("group1.blocks")(tokens)[0, row, column].sum().backward()
    assert tokens.grad is not None
    return tokens.grad[0].abs().sum(-1) > 1e-9


def test_shifted_windows_do_not_attend_across_the_border() -> None:
    seen = reached(build(faithful=False, drop_path=0.0).eval(), 0, 0)
    assert seen[:4, :4].any()
    assert not seen[8:].any()
    assert not seen[:, 8:].any()


def test_as_published_they_do() -> None:
    seen = reached(build(faithful=True, drop_path=0.0).eval(), 0, 0)
    assert seen[-2:, -2:].any()


def test_corrected_it_is_the_same_each_time_and_as_published_unless_frozen() -> None:
    frames = torch.rand(16, 1, 16, 16)
    corrected = build(faithful=False, drop_path=0.5).eval()
    assert torch.equal(corrected(frames), corrected(frames))
    published = build(faithful=True, drop_path=0.5).eval()
    assert not torch.equal(published(frames), published(frames))
    published.get_submodule("group1").requires_grad_(False)
    assert torch.equal(published(frames), published(frames))
