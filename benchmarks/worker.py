"""A contender of a race, in a process of its own: `python -m benchmarks.worker JSON`.

At the first line that it reads it gets ready, warms up, and says what it found; then it runs once for every line, and
says how long that took. Whoever waits for a line takes no processor time, so that contenders can take turns.
"""

import copy
import json
import resource
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
from oracle import OracleSVG, copy_weights
from stochvid import SVG, ModelConfig
from stochvid.devices import DTYPES, prefer_speed
from stochvid.memory import GIB, keep_freed_memory
from stochvid.models.noise import content_ids, latent_noise

WARM_UPS = 3  # runs until memory is where it will be used again


def main() -> None:
    spec = json.loads(sys.argv[1])
    sys.stdin.readline()
    device = torch.device(spec["device"])
    if spec["who"] != "loop":
        keep_freed_memory()
        prefer_speed(device)
    torch.manual_seed(0)
    config = ModelConfig(**spec["model"])
    model = SVG(config).to(device)
    if spec["who"] == "layers":
        step, result = alone(model, spec, device), None
    else:
        step, result = {"train": training, "sample": sampling}[spec["task"]](model, spec, device)
    begun = time.perf_counter()
    counter = FlopCounterMode(display=False)
    if spec["who"] == "layers" or spec.get("compile"):
        step()  # what is compiled cannot be counted
    else:
        with counter:
            step()
    finish(device.type)
    first = time.perf_counter() - begun
    for _ in range(1, 1 if spec["who"] == "loop" else WARM_UPS):
        step()
    finish(device.type)
    say(result=result, flops=counter.get_total_flops() or None, first_seconds=first)
    for _ in sys.stdin:
        begun = time.perf_counter()
        timed = step()
        finish(device.type)
        say(seconds=timed if spec["who"] == "layers" else time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    say(peak_gib=peak / GIB)


def say(**what) -> None:
    print(json.dumps(what), flush=True)


def training(
    model: SVG, spec: dict, device: torch.device, learn: bool = True
) -> tuple[Callable[[], None], list[float]]:
    """A step of training, and the loss of two clips in eval mode, in which loop and stochvid are the same function."""
    config, batch = model.config, spec["batch"]
    shape = (batch, config.frames, config.channels, config.image_size, config.image_size)
    clips = torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(device)
    noise = latent_noise(0, range(batch), 1, config.frames - 1, model.z_dim).to(device)
    bf16 = spec["precision"] == "bf16"
    for part in (model.encoder, model.decoder):
        part.recompute = spec.get("recompute", False)
    if spec["who"] == "loop":
        model = copy_weights(model, OracleSVG(config)).to(device)
        plain = lossy = model.loss
        noise = noise[:, 0]
    else:
        plain = lambda *inputs: model.loss(*inputs).total  # noqa: E731
        lossy = torch.compile(plain) if spec.get("compile") else plain
    adam = torch.optim.Adam(model.parameters(), lr=2e-3, fused=spec["who"] != "loop" or None)

    def step() -> None:
        adam.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = lossy(clips, noise)
        if learn:
            loss.backward()
            adam.step()

    model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        result = [float(plain(clips[:2], noise[:2]))]
    model.train()
    return step, result


def sampling(
    model: SVG, spec: dict, device: torch.device, learn: bool = True
) -> tuple[Callable[[], None], list[float]]:
    """Drawing futures, and some pixels of two of them."""
    config, horizon, samples = model.config, spec["horizon"], spec["samples"]
    shape = (spec["clips"], config.context, config.channels, config.image_size, config.image_size)
    context = torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(device)
    known = config.context - 1
    if spec["who"] == "loop":
        oracle = copy_weights(model, OracleSVG(config)).to(device).eval()
        ids = content_ids(context)

        def draw(samples: int, horizon: int) -> torch.Tensor:
            noise = latent_noise(0, ids, samples, known + horizon, model.z_dim).to(device)
            with torch.inference_mode():
                return oracle.rollout(context, horizon, noise)[0]
    else:
        frozen = model if model.frozen else model.for_inference(DTYPES[spec["precision"]], spec.get("compile", False))

        def draw(samples: int, horizon: int) -> torch.Tensor:
            return frozen.predict(context, horizon, samples).frames

    pixels = draw(2, 2).flatten()
    result = pixels[:: max(1, len(pixels) // 100)].tolist()
    return lambda: draw(samples, horizon), result


def alone(model: SVG, spec: dict, device: torch.device) -> Callable[[], float]:
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
    hooks = [module.register_forward_hook(note) for module in convolutions]
    with torch.no_grad():
        maker = training if train else sampling
        maker(parts, dict(spec, who="stochvid"), device, learn=False)[0]()
    for hook in hooks:
        hook.remove()
    for module in convolutions:
        module.to(dtype)

    def run() -> float:
        total = 0.0
        for (module, shape), count in calls.items():
            x = torch.rand(shape, dtype=dtype, device=device).to(memory_format=torch.channels_last)
            inputs = list(module.parameters())
            if module is not parts.encoder.stages[0][0]:  # nobody needs the gradient of a frame
                inputs.append(x.requires_grad_(train))
            with torch.no_grad():
                gradient = torch.ones_like(module(x))
            finish(device.type)
            begun = time.perf_counter()
            with torch.set_grad_enabled(train):
                for _ in range(count):
                    y = module(x)
                    if train:
                        torch.autograd.grad(y, inputs, gradient)
            finish(device.type)
            total += time.perf_counter() - begun
        return total

    return run


if __name__ == "__main__":
    main()
