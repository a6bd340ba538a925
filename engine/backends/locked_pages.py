"""Let a CUDA device read the mapped weights itself: pages are locked, so copies are asynchronous and direct.

The weights' own mapping is copy-on-write, and locking its pages would make a private copy of each (since
Linux 6.2). So the file is mapped once more, shared and read-only, and those pages are locked.
"""

from __future__ import annotations

import logging
import mmap
import os
import warnings
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from aios_db.engine.weights.reader import WeightFile

if TYPE_CHECKING:
    import torch
    from torch import Tensor

log = logging.getLogger("aios_db.engine.backends.accelerator")

READ_ONLY = 8
"""``cudaHostRegisterReadOnly``: the driver demands it for pages that this process may not write."""


class LockedPages:
    """The mapped pages of a weight file, locked for as long as this object lives.

    Where that cannot be had (another system, an old driver, a limit on locked memory) parameters are copied
    through torch's own buffer, which is slower and blocks; a line in the log says so.

    Parameters
    ----------
    file
        The file that parameters view; None, or a file that is not mapped, locks nothing.
    device
        The CUDA device.
    """

    def __init__(self, file: WeightFile | None, device: torch.device) -> None:
        self._file = file
        self._mapping: mmap.mmap | None = None
        if file is None or not file.is_mapped:
            return
        try:
            mapping = _map_again(file)
            _register(mapping, device)
        except Exception as error:  # whatever the system and the driver say
            log.info("%s: pages are not locked, copies go through a buffer: %s", file.path, error)
            return
        self._mapping = mapping
        weakref.finalize(self, _unregister, mapping).atexit = False

    def view(self, parameter: Tensor) -> Tensor:
        """Return the values of ``parameter`` in locked pages, or ``parameter`` itself."""
        import torch

        if self._file is None or self._mapping is None:
            return parameter
        offset = self._file.offset_of(parameter.data_ptr())
        if offset is None or not parameter.is_contiguous():
            return parameter
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the buffer is read-only: so are we
            flat = torch.frombuffer(
                self._mapping, dtype=parameter.dtype, count=parameter.numel(), offset=offset
            )
        return flat.view(parameter.shape)


def _map_again(file: WeightFile) -> mmap.mmap:
    with file.path.open("rb") as opened:
        if not file.is_same(os.fstat(opened.fileno())):
            raise OSError("the file has been replaced since it was opened")
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _address(mapping: mmap.mmap) -> int:
    return int(np.frombuffer(mapping, np.uint8).ctypes.data)


def _register(mapping: mmap.mmap, device: torch.device) -> None:
    import torch

    cudart: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    with torch.cuda.device(device):
        status = int(cudart.cudaHostRegister(_address(mapping), len(mapping), READ_ONLY))
        if status:
            # The runtime keeps the error and hands it to the next kernel's check: let that be this one.
            with suppress(RuntimeError):
                torch.empty(1, device=device).fill_(0)
            raise OSError(f"cudaHostRegister returned {status}")


def _unregister(mapping: mmap.mmap) -> None:
    import torch

    cudart: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    cudart.cudaHostUnregister(_address(mapping))
