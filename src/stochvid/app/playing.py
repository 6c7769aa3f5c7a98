"""A world that a model with actions imagines, for visitors to act in: a tree of moments, each led to by an action.

A moment is a frame and the model's state after it. Going on from an earlier one is a branch: what if something else had
been done there? What is drawn at a step depends on the seed and on how many steps were made, so that branches share
their luck, and differ by what was done alone. Axes as in `models/base.py`.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stochvid.app.chosen_clips import DIGITS, MOST_SEED, choose_clip, read_frames, whole_number
from stochvid.app.limits import MIB
from stochvid.app.studio import Studio, new_id
from stochvid.core.clips import ACTIONS, FRAMES, Clips
from stochvid.core.errors import InputError
from stochvid.media.pictures import FPS, FuturesPicture
from stochvid.media.video import pack_gif, to_bytes
from stochvid.models.action_input import ActionInput
from stochvid.models.noise import latent_noise
from stochvid.models.state import State

KEPT_BYTES = 256 * MIB  # of states, of all visitors together
MOST_STEPS = 400  # of a line, and of a GIF
MOST_LINES = 2  # side by side in a GIF
GONE = "This moment is no longer on the server: it was restarted, or it is too long ago. Start again."


@dataclass(frozen=True)
class Control:
    """A component of an action, as it is set on the page.

    Attributes:
        name: of the component; "": it has none.
        low: the least of training.
        high: the largest.
        value: what it is when nothing was done yet.
    """

    name: str
    low: float
    high: float
    value: float


@dataclass(frozen=True)
class Moment:
    """A frame, what led to it, and what the model knows after it.

    Attributes:
        id: a name that nothing else has.
        parent: of the moment before; None: it is the last of the given frames.
        number: of the frame, from 1.
        seed: of all that is drawn on its line.
        frame: (C, H, W) uint8.
        given: frames before the first moment of its line, (K − 1, C, H, W) uint8.
        state: of the model after it.
        sigma: σ of the prior, a mean over latents, before the frame was drawn; None where nothing was drawn.
        std_map: σ in each cell of the frame, (h, w); None where latents have no place.
        action: what led to it, a value for each control.
    """

    id: str
    parent: str | None
    number: int
    seed: int
    frame: np.ndarray
    given: np.ndarray
    state: State
    sigma: float | None
    std_map: np.ndarray | None
    action: list[float]


class Playground:
    """The world of one model: it keeps the moments of all visitors, and drops the oldest of them.

    Args:
        studio: the model, driven by actions.

    Attributes:
        controls: what an action is made of.
        choice: whether it is one of the controls that is done, as a button is pressed.
        most: moments that are kept.
    """

    def __init__(self, studio: Studio):
        self.studio = studio
        self.known = _action_input(studio)
        self.repeats = max(1, studio.preprocessing["stride"])  # steps of the recording in one of the model's
        self.controls = _controls(studio, self.known, self.repeats)
        self.choice = self._is_choice()
        self.most = 0
        self._moments: OrderedDict[str, Moment] = OrderedDict()
        self._lock = threading.Lock()

    def _is_choice(self) -> bool:
        """Whether exactly one of the components was 1 at a time, as recordings have discrete actions."""
        named = len(self.controls) > 1 and all(control.name for control in self.controls)
        one_hot = all((control.low, control.high) == (0, 1) for control in self.controls)
        return named and one_hot and abs(sum(control.value for control in self.controls) - 1) < 1e-3

    @torch.inference_mode()
    def begin(self, number: Any, seed: Any) -> Moment:
        """The first moment of a line: the last given frame of a held-out clip.

        Args:
            number: of the clip.
            seed: of what is drawn.

        Raises:
            InputError: there is no such clip, or a number is none.
        """
        studio, config = self.studio, self.studio.network.config
        seed = whole_number("seed", seed, 0, MOST_SEED)
        source = choose_clip(studio, DIGITS, number, None, None, config.context)
        frames = np.stack(list(read_frames(source, studio, config.context)))
        done = source.tracks_of(0, len(frames)).get(ACTIONS)
        if done is None or len(frames) < config.context:
            raise InputError(
                f"The clip {source.name!r} does not tell what was done in its first {config.context} frames, so that "
                "this model cannot go on from it."
            )
        batch = Clips.of_batch({FRAMES: frames[None], ACTIONS: done[None].astype(np.float32)}).to(studio.device)
        with self._lock:
            state = studio.network.observe(batch, decode=False).state
            self.most = self.most or max(2 * MOST_STEPS, KEPT_BYTES // _bytes_of(state))
            last = [float(value) for value in done[-1][: len(self.controls)]]
            return self._keep(None, len(frames), seed, frames[-1], frames[:-1], state, None, None, last)

    @torch.inference_mode()
    def step(self, moment: Any, action: Any) -> Moment:
        """The next moment.

        Args:
            moment: id of the one before.
            action: a value for each control.

        Raises:
            InputError: there is no such moment any more, or it is no such action.
        """
        values = self._action(action)
        before = self._find(moment)
        if before.number - len(before.given) > MOST_STEPS:
            raise InputError(f"A line ends after {MOST_STEPS} steps. Start again, or go back in it.")
        network, device = self.studio.network, self.studio.device
        done = torch.tensor(values, dtype=torch.float32).repeat(self.repeats)[None, None].to(device)
        noise = latent_noise(before.seed, [before.number], 1, 1, network.latent_shape).to(device)
        with self._lock:
            drawn = network.imagine(before.state, 1, noise if network.stochastic else None, {ACTIONS: done})
            assert drawn.state is not None
            sigma = drawn.prior.std.float().mean().item() if network.stochastic else None
            cells = None if drawn.std_map is None else drawn.std_map[0, 0, 0].float().cpu().numpy()
            frame = to_bytes(drawn.frames[0, 0, 0])
            return self._keep(
                before.id, before.number + 1, before.seed, frame, before.given, drawn.state, sigma, cells, values
            )

    def gif(self, ends: Any) -> bytes:
        """What led to moments, side by side, as a GIF; a line that is over before the others stays as it ended.

        Args:
            ends: ids of the last moments of one line or two.

        Raises:
            InputError: there is no such moment any more.
        """
        if not isinstance(ends, list) or not 1 <= len(ends) <= MOST_LINES:
            raise InputError(f"ends must be a list of 1 to {MOST_LINES} moments, got {ends!r:.80}.")
        lines = [self._line(end) for end in ends]
        first, longest = lines[0][0], max(map(len, lines))
        if longest == 1:
            raise InputError("Nothing was done yet. Press an arrow key first.")
        given = np.concatenate([first.given, first.frame[None]])
        futures = np.stack(
            [np.stack([*(m.frame for m in line[1:]), *[line[-1].frame] * (longest - len(line))]) for line in lines]
        )
        words = ("truth", "given", "imagined")
        picture = FuturesPicture(given, futures, None, self.studio.name, ["this", "before"][: len(lines)], words)
        return pack_gif(picture.animation(), FPS)

    def _line(self, end: Any) -> list[Moment]:
        """The moments that led to one, the first one first."""
        moment, line = self._find(end), list[Moment]()
        while True:
            line.append(moment)
            if moment.parent is None:
                return line[::-1]
            moment = self._find(moment.parent)

    def _find(self, moment: Any) -> Moment:
        with self._lock:
            found = self._moments.get(moment) if isinstance(moment, str) else None
            if found is None:
                raise InputError(GONE)
            self._moments.move_to_end(found.id)
            return found

    def _keep(self, parent: str | None, *values: Any) -> Moment:
        moment = Moment(new_id(), parent, *values)
        self._moments[moment.id] = moment
        while len(self._moments) > self.most:
            self._moments.popitem(last=False)
        return moment

    def _action(self, action: Any) -> list[float]:
        """The values of an action, within those of training: a key that is held down shall not leave them."""
        right = isinstance(action, list) and len(action) == len(self.controls)
        if not right or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in action):
            raise InputError(f"An action must be a list of {len(self.controls)} number(s), got {action!r:.80}.")
        found = [min(max(float(x), c.low), c.high) for x, c in zip(action, self.controls, strict=True)]
        if not all(x == x for x in found):
            raise InputError(f"An action must be a list of finite numbers, got {action!r:.80}.")
        return found


def can_be_played(studio: Studio) -> bool:
    """Whether a model is driven by actions and the clips to begin with are here."""
    return isinstance(getattr(studio.network, ACTIONS, None), ActionInput) and studio.held_out > 0


def _action_input(studio: Studio) -> ActionInput:
    known = getattr(studio.network, ACTIONS, None)
    if not isinstance(known, ActionInput):
        raise InputError(f"the model {studio.name!r} is not driven by actions, so that nothing can be done in it.")
    return known


def _controls(studio: Studio, known: ActionInput, repeats: int) -> list[Control]:
    """What an action is made of, with the range of training, or about that where it is not known."""
    size = known.size // repeats
    track = studio.store.tracks.get(ACTIONS) if studio.store else None
    names = track.names if track is not None and track.names and len(track.names) == size else [""] * size
    mean, std, low, high = (x[:size].double().cpu() for x in (known.mean, known.std, known.low, known.high))
    unknown = low == high
    low, high = torch.where(unknown, mean - 2 * std, low), torch.where(unknown, mean + 2 * std, high)
    values = zip(names, low.tolist(), high.tolist(), mean.tolist(), strict=True)
    return [Control(*of) for of in values]


def _bytes_of(state: Any) -> int:
    """About how much memory a state takes."""
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, State):
        return sum(_bytes_of(getattr(state, spec.name)) for spec in fields(state))
    return sum(map(_bytes_of, state)) if isinstance(state, Sequence) and not isinstance(state, str) else 0
