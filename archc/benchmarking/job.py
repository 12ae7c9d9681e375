"""What a worker is asked to do: one network on one engine, in one precision, on so many threads, for one batch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archc.backends.protocol import raw
from archc.exporting.network import Network
from archc.files import write_text
from archc.ir.graph import Graph

if TYPE_CHECKING:
    from archc.ir.state import Array

GRAPH, STATE = "graph.json", "state.npz"


@dataclass(frozen=True)
class Job:
    """One worker's work. `network` is a directory that `store` wrote.

    `file` is what the engine opens, or what an export writes; it is empty for engines that build the network in torch.
    `cores` are the processors that the worker may use; empty where the system cannot pin a process.
    """

    engine: str
    precision: str
    threads: int
    batch: int
    cores: tuple[int, ...]
    network: str
    file: str = ""
    export: bool = False
    """Write `file`, and do nothing else."""
    profile: bool = False
    """Open the engine so that the latency of each operation can be measured."""
    calibrate: tuple[str, ...] = ()
    """Images for the ranges of int8; random numbers where there are none."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Job:
        """A job from its JSON form."""
        value: dict[str, Any] = json.loads(line)
        return cls(**{**value, "cores": tuple(value["cores"]), "calibrate": tuple(value["calibrate"])})


def store(network: Network, directory: Path) -> None:
    """Write a network for its workers; of a detector, what its heads predict on levels."""
    import numpy as np

    graph = raw(network.graph)
    directory.mkdir()
    write_text(directory / GRAPH, json.dumps(graph.to_json()))
    arrays: dict[str, Any] = {key: network.state[key] for key, _ in graph.tensors()}
    np.savez(directory / STATE, **arrays)


def stored(directory: str) -> Network:
    """The network that `store` wrote."""
    import numpy as np

    graph = Graph.from_json(json.loads((Path(directory) / GRAPH).read_text(encoding="utf-8")))
    with np.load(Path(directory) / STATE) as file:
        return Network(graph, {key: file[key] for key in file.files})


def images(graph: Graph, batch: int) -> Array:
    """Images of random numbers, the same ones for all workers."""
    import numpy as np

    return np.random.default_rng(0).standard_normal((batch, *graph.input.shape), dtype=np.float32)
