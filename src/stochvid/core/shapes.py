"""Shapes and dtypes in annotations: `Float[Tensor, "B T C H W"]`. Imports no torch.

A name stands for one size throughout a call; `_` is any size, `*latent` any number of axes, `...` whatever there is,
and `{samples}` the value of an argument. Single names begin with a space: `Float[Tensor, " T"]`.

The tests check them at run time with jaxtyping and beartype (`tests/conftest.py`). Elsewhere they are notes for readers
and type checkers, so that neither package is needed, and nothing is checked twice.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or "jaxtyping" not in sys.modules:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Frames
    from typing import Annotated as Int
    from typing import Annotated as UInt8
else:
    from jaxtyping import AbstractDtype, Bool, Float, Int, UInt8

    class Frames(AbstractDtype):
        """Pixels: float in [0, 1], or uint8 in [0, 255]."""

        dtypes = (*Float.dtypes, *UInt8.dtypes)


__all__ = ["Bool", "Float", "Frames", "Int", "UInt8"]
