"""Training steps and sampling against the paper's literal loop, and what compiling does to them."""

from dataclasses import asdict

import torch

from benchmarks.race import Contender, Row, race
from stochvid.core.devices import pick_precision
from stochvid.model_configs import ConvLSTMConfig, SVGConfig, SVGPrimeConfig

DCGAN = SVGConfig(beta=1.0)  # so that KL counts when results are compared
VGG = SVGConfig(backbone="vgg", z_dim=24, context=10, horizon=10, beta=1.0)
VGG_128 = SVGConfig(backbone="vgg", image_size=128, z_dim=24, context=10, horizon=10, beta=1.0)
PRIME = {"beta": 1.0, "reconstruction": "mse"}
PRIME_VGG = SVGPrimeConfig(**PRIME, base_channels=32, rnn_size=128)  # a quarter and half as wide as the paper's
PRIME_DCGAN = SVGPrimeConfig(
    **PRIME, backbone="dcgan", base_channels=32, norm="group", g_dim=64, rnn_size=64, z_dim=2, latent_size=4,
    future_skip="previous",
)  # fmt: skip
TINY = {"image_size": 32, "base_channels": 4, "g_dim": 8, "rnn_size": 8, "context": 3, "horizon": 3, "beta": 1.0}
HORIZON = 20


def training(options) -> list[Row]:
    """A step of Adam on clips, as published: 5 + 10 frames for DCGAN, 10 + 10 for VGG."""
    cases = [("DCGAN-64, 100 clips of 15", DCGAN, 100), ("DCGAN-64, 16 clips of 15", DCGAN, 16)]
    cases.append(("VGG-64, 8 clips of 20", VGG, 8))
    if options.tiny:
        cases = [("tiny DCGAN", SVGConfig(**TINY), 2), ("tiny VGG", SVGConfig(**TINY, backbone="vgg"), 2)]
    rows = []
    for case, model, batch in cases:
        spec = {"task": "train", "device": options.device, "model": asdict(model), "batch": batch}
        rows += _against_the_loop(case, "clips/s", spec, batch, batch, options.rounds)
    return rows


def sampling(options) -> list[Row]:
    """20 frames of many futures. The loop draws one after the other, so that some of them tell how fast it is."""
    rows = []
    for clips, samples, few in ((8, 20, 20), (1, 100, 20), (8, 100, 10)) if not options.tiny else ((2, 3, 2),):
        model = SVGConfig(**TINY) if options.tiny else DCGAN
        spec = {"task": "sample", "device": options.device, "model": asdict(model), "horizon": HORIZON}
        spec |= {"clips": clips, "samples": samples}
        case = f"{model.backbone.upper()}-{model.image_size}, {clips} × {samples} futures"
        work, loop_work = clips * samples * HORIZON, clips * few * HORIZON
        rows += _against_the_loop(case, "frames/s", spec, work, loop_work, options.rounds, {"samples": few})
    return rows


def svg_prime(options) -> list[Row]:
    """Training and sampling of SVG′ against its literal loop."""
    cases = [("SVG′, VGG-64", PRIME_VGG, 4), ("SVG′, DCGAN-64", PRIME_DCGAN, 16)]
    if options.tiny:
        cases = [("tiny SVG′", SVGPrimeConfig(**TINY, backbone="dcgan", reconstruction="mse"), 2)]
    clips, samples, few = (2, 3, 2) if options.tiny else (4, 20, 10)
    rows = []
    for name, model, batch in cases:
        base = {"device": options.device, "model": asdict(model)}
        case, spec = f"{name}, {batch} clips of {model.frames}", {"task": "train", "batch": batch}
        rows += _against_the_loop(case, "clips/s", base | spec, batch, batch, options.rounds)
        case, spec = f"{name}, {clips} × {samples} futures", {"task": "sample", "clips": clips, "samples": samples}
        work, loop_work = clips * samples * HORIZON, clips * few * HORIZON
        spec["horizon"] = HORIZON
        rows += _against_the_loop(case, "frames/s", base | spec, work, loop_work, options.rounds, {"samples": few})
    return rows


def convlstm(options) -> list[Row]:
    """Training and prediction of a ConvLSTM against its literal loop, at the size of the paper."""
    model, batch, clips = ConvLSTMConfig(context=10, horizon=10), 8, 8
    if options.tiny:
        model = ConvLSTMConfig(image_size=32, patch=8, widths=[4, 4], kernel=3, context=3, horizon=3)
        batch, clips = 2, 2
    base = {"device": options.device, "model": asdict(model)}
    name = f"ConvLSTM {'-'.join(map(str, model.widths))}"
    case, spec = f"{name}, {batch} clips of {model.frames}", {"task": "train", "batch": batch}
    rows = _against_the_loop(case, "clips/s", base | spec, batch, batch, options.rounds)
    case, spec = f"{name}, {clips} futures", {"task": "sample", "clips": clips, "samples": 1, "horizon": HORIZON}
    return rows + _against_the_loop(case, "frames/s", base | spec, clips * HORIZON, clips * HORIZON, options.rounds)


def recompute(options) -> list[Row]:
    """Activation checkpointing (`trainer.recompute`) against none."""
    model, batch = (SVGConfig(**TINY, backbone="vgg"), 2) if options.tiny else (VGG_128, 2)
    spec = {
        "task": "train",
        "device": options.device,
        "model": asdict(model),
        "batch": batch,
        "who": "stochvid",
        "check": "step",
    }
    contenders = [
        Contender(
            f"{precision}{', recompute' if again else ''}", spec | {"precision": precision, "recompute": again}, batch
        )
        for precision in precisions(options.device)
        for again in (False, True)
    ]
    return race(f"VGG-{model.image_size}, {batch} clips of {model.frames}", "clips/s", contenders, options.rounds)


def compiling(options) -> list[Row]:
    """`torch.compile` against none, for training and for sampling; `first` is how long the first run takes."""
    model, batch, clips, samples = (SVGConfig(**TINY), 2, 2, 3) if options.tiny else (DCGAN, 16, 8, 20)
    base = {"device": options.device, "model": asdict(model), "who": "stochvid", "check": "step"}
    tasks = {
        "training": ({"task": "train", "batch": batch}, batch, "clips/s"),
        "sampling": ({"task": "sample", "clips": clips, "samples": samples, "horizon": HORIZON},
                     clips * samples * HORIZON, "frames/s"),
    }  # fmt: skip
    rows = []
    some = precisions(options.device)[-1 if options.tiny or options.device == "cuda" else 0 :]
    for task, (spec, work, unit) in tasks.items():
        for precision in some:
            pair = [
                Contender(
                    f"{precision}{', compiled' if c else ''}",
                    base | spec | {"precision": precision, "compile": c},
                    work,
                )
                for c in (False, True)
            ]
            rows += race(f"DCGAN-{model.image_size}, {task}, {precision}", unit, pair, options.rounds)
    return rows


def precisions(device: str) -> list[str]:
    """fp32, and bf16 where the hardware computes it."""
    fast = pick_precision("auto", torch.device(device)) == "bf16"
    return ["fp32", "bf16"] if fast else ["fp32"]


def _against_the_loop(
    case: str, unit: str, spec: dict, work: float, loop_work: float, rounds: int, of_loop: dict | None = None
) -> list[Row]:
    """Ours in every precision against the loop, and then against the convolutions alone, which bound it."""
    loop = Contender("loop", spec | {"who": "loop", "precision": "fp32"} | (of_loop or {}), loop_work)
    ours = {p: Contender(p, spec | {"who": "stochvid", "precision": p}, work) for p in precisions(spec["device"])}
    rows = race(case, unit, [loop, *ours.values()], rounds)
    for row in rows[1:]:  # races of their own: all of them together do not fit into memory
        contender = ours[row.name]
        alone = Contender("convolutions alone", contender.spec | {"who": "layers"}, work)
        _, ceiling = race(f"{case}, {row.name}", unit, [contender, alone], rounds)
        row.more["of_ceiling"] = 1 / ceiling.ratio[0]
    return rows
