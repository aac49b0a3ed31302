"""What frozen stages at the input make of a sample is computed once, and kept for every later look at that sample.

A batch is a function of seed and step alone, augmentation included. So trials that freeze the same first stages meet
the very same batches, and what those stages make of them is the same to the bit; validation fields come back at every
look. Stages further in are fed by trained ones and are computed anew.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sim_models.freeze import FreezeRange
from sim_models.networks import Network

BYTES = 512 * 2**20
"""of activations that one process keeps; the least used go first"""


class Store:
    """Outputs of stages by what went into the network, up to so many bytes."""

    def __init__(self, limit_bytes: int = BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self.found, self.missed = 0, 0
        self._outputs: OrderedDict[str, Any] = OrderedDict()

    def get(self, key: str, compute: Callable[[], Any]) -> Any:
        """What is kept under a key, or what `compute` gives, which is kept from now on."""
        if key in self._outputs:
            self.found += 1
            self._outputs.move_to_end(key)
            return self._outputs[key]
        self.missed += 1
        output = compute()
        if _bytes(output) > self.limit_bytes:
            return output
        self._outputs[key] = output
        self.bytes += _bytes(output)
        while self.bytes > self.limit_bytes:
            _, dropped = self._outputs.popitem(last=False)
            self.bytes -= _bytes(dropped)
        return output


@contextmanager
def remembered(network: Network, frozen: FreezeRange, weights: str, store: Store) -> Iterator[None]:
    """Within the block, the frozen stages at the input take from `store` what they have computed before.

    Args:
        network: with these stages frozen; stays as it is but for the time inside the block.
        frozen: only a range that begins at the input has a prefix.
        weights: names the weights the network started from: all its frozen stages still have them.
        store: shared by all networks of a process.
    """
    stages = network.stages()
    prefix = list(stages)[: frozen.end] if frozen.start == 0 else []
    if not prefix:
        yield
        return
    memo = _Memo(weights, store)
    handle = network.register_forward_pre_hook(lambda _, inputs: memo.begin(inputs[0]))
    for name in prefix:
        stages[name].forward = memo.around(name, stages[name])
    try:
        yield
    finally:
        handle.remove()
        for name in prefix:
            del stages[name].forward  # the method of its class shows again


class _Memo:
    """Keys of one network: what went in, then which stage, called for the how many-th time."""

    def __init__(self, weights: str, store: Store) -> None:
        self.weights, self.store = weights, store
        self.sample, self.calls = "", 0

    def begin(self, frames: Tensor) -> None:
        """A sample goes in."""
        values = frames.detach().cpu().contiguous().view(torch.uint8).numpy()
        shape = f"{self.weights} {tuple(frames.shape)} {frames.dtype} {frames.device}"
        self.sample = hashlib.blake2b(values.tobytes() + shape.encode(), digest_size=16).hexdigest()
        self.calls = 0

    def around(self, name: str, stage: nn.Module) -> Callable[..., Any]:
        """The `forward` of a stage that looks into the store first."""
        compute = type(stage).forward

        def forward(*inputs: Any) -> Any:
            self.calls += 1
            precise = torch.is_autocast_enabled()
            return self.store.get(
                f"{self.sample} {name} {self.calls} {precise}", lambda: compute(stage, *inputs)
            )

        return forward


def _bytes(output: Any) -> int:
    if isinstance(output, Tensor):
        return output.nbytes
    return sum(_bytes(each) for each in output) if isinstance(output, list | tuple) else 0
