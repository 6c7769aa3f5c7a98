"""What people say is done in a future: a file, or a word. Imports no torch."""

from pathlib import Path

import numpy as np

from stochvid.core.errors import InputError
from stochvid.media.tables import read_table

WORDS = ("hold", "zero")
MOST_BYTES = 64 << 20


def read_actions(text: str) -> np.ndarray | str:
    """What `--actions` names: `hold`, `zero`, or the numbers of a file, (T, A), or (S, T, A) for each future its own.

    Raises:
        InputError: there is no such file, or it holds no such numbers.
    """
    if text in WORDS:
        return text
    path, what = Path(text), f"--actions {text!r}"
    if not path.is_file():
        raise InputError(f"{what} is neither {' nor '.join(WORDS)}, nor a file that can be read.")
    try:
        if path.suffix.lower() == ".npy":
            if path.stat().st_size > MOST_BYTES:
                raise InputError(f"{what} has more than {MOST_BYTES:,} bytes.")
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            _, found = read_table(path)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{what} is not as it should be ({error!s:.200}): rows of numbers, .csv or .npy.") from None
    if found.ndim not in (2, 3) or found.dtype.kind not in "iuf" or not found.size:
        raise InputError(
            f"{what} holds {found.dtype} {found.shape}; expected numbers (T, A), a row for each frame, or (S, T, A)."
        )
    actions = np.array(found, dtype=np.float32)
    if not np.isfinite(actions).all():
        row = int(np.argwhere(~np.isfinite(actions))[0, -2])
        raise InputError(f"{what} has no finite number in row {row + 1}.")
    return actions


def actions_of_clip(
    given: np.ndarray | str, known: np.ndarray | None, size: int, context: int, horizon: int, samples: int, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """What led to a clip's given frames, (K, A), and what leads to those to come, (S or 1, T, A).

    Args:
        given: as of `read_actions`.
        known: what led to each frame of the clip, (≥ K, A); None: nobody knows.
        size: components A that the model takes.
        context: given frames K.
        horizon: frames T to predict.
        samples: futures S.
        what: what people call the clip.

    Raises:
        InputError: they do not fit, or nobody says what led to the given frames.
    """
    past = None if known is None else known[:context].astype(np.float32)
    if isinstance(given, str):
        if past is None and given == "hold" and context > 1:
            raise InputError(
                f"{what} does not say what was done, so that there is nothing to hold. Give a file of actions, with a "
                f"row for each of the {context - 1 + horizon} frames after the first, or zero."
            )
        past = np.zeros((context, size), np.float32) if past is None else past
        last = past[-1] if given == "hold" else np.zeros(size, np.float32)
        return past, np.broadcast_to(last, (1, horizon, size))
    plans = given[None] if given.ndim == 2 else given
    if plans.shape[2] != size:
        raise InputError(f"The actions have {plans.shape[2]} component(s), the model takes {size}.")
    if len(plans) not in (1, samples):
        raise InputError(f"The actions are of {len(plans)} futures, but {samples} are asked for (--samples).")
    rows, whole = plans.shape[1], context - 1 + horizon
    if rows == whole and (rows != horizon or past is None):
        past = np.concatenate([np.zeros((1, size), np.float32), plans[0, : context - 1]])
        if not (plans[:, : context - 1] == plans[:1, : context - 1]).all():
            raise InputError(
                "The actions of several futures differ in what led to the given frames, which is one thing."
            )
        return past, plans[:, context - 1 :]
    if rows != horizon:
        fix = f"--horizon {rows}" if past is not None or context == 1 else f"--horizon {max(1, rows - context + 1)}"
        raise InputError(
            f"The actions have {rows} row(s); expected {horizon}, one for each frame to predict, or {whole}, for the "
            f"given frames after the first, too. Give others, or {fix}."
        )
    if past is None:
        if context > 1:
            raise InputError(
                f"{what} does not say what led to its given frames. Give actions of {whole} rows, for each frame "
                "after the first, or --context 1."
            )
        past = np.zeros((1, size), np.float32)
    return past, plans
