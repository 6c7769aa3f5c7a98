"""A contender of a race, in a process of its own: `python -m benchmarks.worker JSON`.

At the first line that it reads it gets ready, warms up, and says what it found; then it runs once for every line, and
says how long that took. Whoever waits for a line takes no processor time, so that contenders can take turns.
"""

import copy
import functools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from benchmarks.race import finish
from convlstm_oracle import OracleConvLSTM
from oracle import OracleSVG, copy_weights
from stochvid.config import model_from_dict
from stochvid.core.clips import Clips
from stochvid.core.devices import DTYPES, prefer_speed
from stochvid.core.memory import GIB, keep_freed_memory
from stochvid.models.base import VideoModel
from stochvid.models.noise import content_ids, latent_noise
from stochvid.models.svg_base import SVGBase
from stochvid.training.objectives import WeightedTerms

WARM_UPS = 3  # runs until memory is where it will be used again


def main() -> None:
    spec = json.loads(sys.argv[1])
    sys.stdin.readline()
    device = torch.device(spec["device"])
    if spec["who"] != "loop":
        keep_freed_memory()
    prefer_speed(device)
    torch.manual_seed(0)
    config = model_from_dict(spec["model"], "the model")
    model = config.model_class()(config).to(device)
    calibrate(model)
    if spec["who"] == "layers":
        step, result = alone(model, spec, device), None
    else:
        step, result = MAKERS[spec["task"]](model, spec, device)
    begun = time.perf_counter()
    counter = FlopCounterMode(display=False)
    if spec["who"] == "layers" or spec.get("check") == "step":
        first = step()  # what is compiled cannot be counted, and counting keeps what recomputing lets go
    else:
        with counter:
            first = step()
    finish(spec["device"])
    first_seconds = time.perf_counter() - begun
    for _ in range(1, 1 if spec["who"] == "loop" else WARM_UPS):
        step()
    finish(spec["device"])
    if spec.get("check") == "step":  # of two ways to do all of a step
        result = first
    say(result=result, flops=counter.get_total_flops() or None, first_seconds=first_seconds)
    for _ in sys.stdin:
        begun = time.perf_counter()
        timed = step()
        finish(spec["device"])
        say(seconds=timed if spec["who"] == "layers" else time.perf_counter() - begun)
    say(peak_gib=peak_bytes(device) / GIB)


def say(**what) -> None:
    print(json.dumps(what), flush=True)


def peak_bytes(device: torch.device) -> int:
    """The most memory that this process had: resident, or of a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    if sys.platform.startswith("linux"):  # getrusage would count that of the parent, too
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def calibrate(model: VideoModel) -> None:
    """Gives batch-norm statistics under which frames depend on everything: on untrained weights they are all grey."""
    c, norms = model.config, [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    clips, noise = inputs(model, 2, next(model.parameters()).device)
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        total_loss(model, clips[:, : c.frames], noise)
    for norm in norms:
        norm.momentum = 0.1


def loop_of(model: VideoModel) -> nn.Module:
    """The literal loop of a model's paper, with the model's weights."""
    if isinstance(model, SVGBase):
        return copy_weights(model, OracleSVG(model.config))
    return OracleConvLSTM(model)


def inputs(model: VideoModel, batch: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips and noise to train on."""
    c = model.config
    shape = (batch, c.frames, c.channels, c.image_size, c.image_size)
    clips = torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(device)
    return clips, latent_noise(0, range(batch), 1, c.frames - 1, model.latent_shape).to(device)


def training(model: VideoModel, spec: dict, device: torch.device) -> tuple[Callable[[], list[float]], list[float]]:
    """A step of training; and loss and gradient of two clips in eval mode, where loop and stochvid are one function."""
    bf16 = spec["precision"] == "bf16"
    clips, noise = inputs(model, spec["batch"], device)
    model.recompute(spec.get("recompute", False))
    if spec["who"] == "loop":
        model = loop_of(model).to(device)
        plain, noise = model.loss, noise[:, 0]
    else:
        plain = functools.partial(total_loss, model)
    adam = torch.optim.Adam(model.parameters(), lr=2e-3, fused=spec["who"] != "loop" or None)
    lossy = torch.compile(plain) if spec.get("compile") else plain

    def gradients(lossy: Callable, clips: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        adam.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = lossy(clips, noise)
        loss.backward()
        return loss

    def found(loss: torch.Tensor) -> list[float]:
        return [loss.item(), torch.stack([p.grad.norm() for p in model.parameters()]).norm().item()]

    def step() -> list[float] | None:
        loss = gradients(lossy, clips, noise)
        first = found(loss) if not adam.state else None
        adam.step()
        return first

    if spec.get("check") == "step":
        return step, []
    model.eval()
    result = found(gradients(plain, clips[:2], noise[:2]))
    model.train()
    return step, result


def total_loss(model: VideoModel, clips: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """What training minimises."""
    return WeightedTerms(model.config.term_weights)(model, Clips(clips), noise)["loss"]


def sampling(model: VideoModel, spec: dict, device: torch.device) -> tuple[Callable[[], list[float]], list[float]]:
    """Drawing futures; and pixels of two futures of two frames."""
    config = model.config
    shape = (spec["clips"], config.context, config.channels, config.image_size, config.image_size)
    context = torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(device)
    known = config.context - 1
    if spec["who"] == "loop":
        oracle = loop_of(model).to(device).eval()
        ids = content_ids(context)

        def draw(samples: int, horizon: int) -> torch.Tensor:
            noise = latent_noise(0, ids, samples, known + horizon, model.latent_shape).to(device)
            with torch.inference_mode():
                return oracle.rollout(context, horizon, noise)[0]
    else:
        frozen = model if model.frozen else model.for_inference(DTYPES[spec["precision"]], spec.get("compile", False))

        def draw(samples: int, horizon: int) -> torch.Tensor:
            return frozen.predict(context, horizon, samples).frames

    def step() -> list[float]:
        return some(draw(spec["samples"], spec["horizon"]))

    return step, some(draw(2, 2)) if spec.get("check") != "step" else []


def some(frames: torch.Tensor) -> list[float]:
    """A few pixels, from everywhere."""
    pixels = frames.flatten()
    return pixels[:: max(1, len(pixels) // 500)].tolist()


MAKERS = {"train": training, "sample": sampling}


def alone(model: VideoModel, spec: dict, device: torch.device) -> Callable[[], float]:
    """The convolutions of a step and nothing else, one after the other: how fast a step could be at best.

    Returns:
        A function that runs them all, with their gradients in training, and gives the seconds that they took.
    """
    train, dtype = spec["task"] == "train", DTYPES[spec["precision"]]
    parts = copy.deepcopy(model) if train else model.for_inference(dtype)
    calls: Counter[tuple[nn.Module, torch.Size]] = Counter()

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        calls[module, inputs[0].shape] += 1

    convolutions = [module for module in parts.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    with torch.no_grad():  # forward says which, how often, and how large
        if train:
            clips, noise = inputs(parts, spec["batch"], device)
            once = functools.partial(total_loss, parts, clips, noise)
        else:
            once, _ = sampling(parts, spec, device)
        hooks = [module.register_forward_hook(note) for module in convolutions]
        once()
    for hook in hooks:
        hook.remove()
    first = next(iter(calls))[0]
    for module in convolutions:
        module.to(dtype)

    def run() -> float:
        total = 0.0
        for (module, shape), count in calls.items():
            x = torch.rand(shape, dtype=dtype, device=device).to(memory_format=torch.channels_last)
            inputs = list(module.parameters())
            if module is not first:  # nobody needs the gradient of a frame
                inputs.append(x.requires_grad_(train))
            with torch.no_grad():
                gradient = torch.ones_like(module(x))
            finish(spec["device"])
            begun = time.perf_counter()
            with torch.set_grad_enabled(train):
                for _ in range(count):
                    y = module(x)
                    if train:
                        torch.autograd.grad(y, inputs, gradient)
            finish(spec["device"])
            total += time.perf_counter() - begun
        return total

    return run


if __name__ == "__main__":
    main()
