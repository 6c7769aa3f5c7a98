"""`SVG.predict` against the ONNX graphs that `stochvid export` writes, run by onnxruntime."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks.models import TINY
from benchmarks.race import Row, take_turns
from stochvid import SVG, SVGConfig, load_config
from stochvid.config import shipped_configs
from stochvid.interop.export import export_model
from stochvid.models.noise import content_ids, latent_noise

HORIZON = 20


def export(options) -> list[Row]:
    """20 frames of futures, in fp32 and with as many threads; both draw the same ones."""
    names, sizes = ("laptop", "smmnist-lp"), ((1, 1), (2, 10), (8, 20))
    configs = {name: load_config(shipped_configs()[name]).model for name in names}
    if options.tiny:
        configs, sizes = {"tiny": SVGConfig(**TINY)}, ((2, 3),)
    rows = []
    for name, config in configs.items():
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            SVG(config).save_pretrained(f"{folder}/model")
            export_model(f"{folder}/model", f"{folder}/onnx")
            model, graphs = SVG.from_pretrained(f"{folder}/model").for_inference(), Graphs(Path(folder, "onnx"))
            for clips, samples in sizes:
                rows += _against_predict(name, model, graphs, clips, samples, options.rounds)
    return rows


class Graphs:
    """The two graphs of a folder, in a loop of NumPy."""

    def __init__(self, folder: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.known = json.loads((folder / "export.json").read_text(encoding="utf-8"))["context"] - 1
        self.sessions = {
            name: onnxruntime.InferenceSession(folder / f"{name}.onnx", options) for name in ("context", "step")
        }

    def draw(self, frames: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Frames (N, K, C, H, W) and noise (N, K − 1 + T, Z) → (N, T, C, H, W)."""
        state = self._run("context", {"frames": frames, "noise": noise[:, : self.known]})
        drawn = []
        for t in range(self.known, noise.shape[1]):
            after = self._run("step", state | {"noise": noise[:, t]})
            drawn.append(after["frame"])
            state |= {name.removeprefix("next_"): x for name, x in after.items() if name.startswith("next_")}
        return np.stack(drawn, axis=1)

    def _run(self, name: str, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = self.sessions[name]
        outputs = [x.name for x in session.get_outputs()]
        return dict(
            zip(outputs, session.run(outputs, {x.name: values[x.name] for x in session.get_inputs()}), strict=True)
        )


def _against_predict(name: str, model: SVG, graphs: Graphs, clips: int, samples: int, rounds: int) -> list[Row]:
    c = model.config
    generator = torch.Generator().manual_seed(1)
    context = torch.rand(clips, c.context, c.channels, c.image_size, c.image_size, generator=generator)
    noise = (
        latent_noise(0, content_ids(context), samples, graphs.known + HORIZON, model.latent_shape).flatten(0, 1).numpy()
    )
    frames = context.repeat_interleave(samples, 0).numpy()

    def ours() -> torch.Tensor:
        return model.predict(context, HORIZON, samples).frames

    def theirs() -> np.ndarray:
        return graphs.draw(frames, noise)

    case = f"{name}, {clips} × {samples} futures"
    error = np.abs(ours().flatten(0, 1).numpy() - theirs()).max()
    if not error <= 1e-4:
        raise SystemExit(f"benchmark: the graphs are off by {error:.1e} in {case}.")
    work = clips * samples * HORIZON
    contenders = {"SVG.predict": (_timed(ours), work), "ONNX": (_timed(theirs), work)}
    return take_turns(case, "frames/s", contenders, rounds)


def _timed(draw: Callable) -> Callable[[], float]:
    def run() -> float:
        begun = time.perf_counter()
        draw()
        return time.perf_counter() - begun

    return run
