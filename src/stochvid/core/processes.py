"""The processes that `torchrun` started to work on one thing together."""

import os
from typing import Any, Self

import torch
from torch import distributed


class ProcessGroup:
    """A context in which the processes of `torchrun` exchange plain values; a process alone is a group of one.

    Attributes:
        rank: which of them this is.
        size: how many they are.
    """

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if torch.cuda.is_available() and self.size > 1:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())

    @property
    def main(self) -> bool:
        """Whether this is the process that reads, writes and speaks for all."""
        return self.rank == 0

    def __enter__(self) -> Self:
        if self.size > 1:
            distributed.init_process_group("gloo")
        return self

    def __exit__(self, *_: Any) -> None:
        if self.size > 1:
            distributed.destroy_process_group()

    def share(self, value: Any = None) -> Any:
        """What the main process gives, in every process."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """What every process gives, by rank, in the main process; nothing in the others."""
        if self.size == 1:
            return [value]
        values = [None] * self.size if self.main else None
        distributed.gather_object(value, values)
        return values or []
