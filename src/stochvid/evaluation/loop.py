"""A run of an evaluation: draws and scores clip after clip, and sums up.

Axes: `B` clips, `S` samples, `K` context, `T` predicted frames, `C H W` image.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stochvid.core.clips import Clips
from stochvid.core.philox import Streams
from stochvid.core.processes import ProcessGroup
from stochvid.core.progress import Progress
from stochvid.evaluation.forecasters import Forecaster
from stochvid.evaluation.held_out import TestClips, digest, digest_of
from stochvid.evaluation.journal import Journal
from stochvid.evaluation.metrics.registry import METRICS, of_kind
from stochvid.evaluation.protocols import SHOWN_BY, ForecastTask
from stochvid.evaluation.results import FORMAT, VERSION, summarise, summarise_videos
from stochvid.evaluation.scores import ClipScores, Scorer
from stochvid.media.pictures import FuturesPicture

RANDOM_SHOWN = 3  # random samples in best.gif


@dataclasses.dataclass
class Evaluation:
    """One evaluation, checked and ready.

    Attributes:
        forecaster: what is tested.
        clips: what it is tested on.
        scorer: what scores it.
        task: frames to give and to predict.
        count: of the clips.
        samples: of each clip, as asked for.
        seed: of the latents, and of what is chosen at random.
        device: where samples are drawn and scored.
        chunk: rows (clips × samples) that are drawn together.
        departures: in what this is not as published.
    """

    forecaster: Forecaster
    clips: TestClips
    scorer: Scorer
    task: ForecastTask
    count: int
    samples: int
    seed: int
    device: torch.device
    chunk: int
    departures: list[str]

    def __str__(self) -> str:
        drawn = f"{self.samples} samples" if self.forecaster.stochastic else "1 sample (it draws nothing)"
        return (
            f"{self.forecaster.name} on {self.clips}\n{self.scorer.protocol.name}: {self.count:,} clips, "
            f"{self.task.context} → {self.task.horizon} frames, {drawn}, {self.chunk:,} at once, on {self.device} in "
            f"{self.forecaster.precision}"
        )

    @property
    def drawn(self) -> int:
        """Samples that are really drawn of each clip."""
        return self.samples if self.forecaster.stochastic else 1

    def identity(self) -> dict[str, Any]:
        """Everything that the numbers depend on, but for rounding."""
        return {
            "name": self.forecaster.name,
            "protocol": dataclasses.asdict(self.scorer.protocol),
            "model": self.forecaster.about,
            "data": self.clips.about,
            "setting": dataclasses.asdict(self.task) | {"clips": self.count, "samples": self.samples},
            "sampling": {"seed": self.seed, "drawn": self.drawn, "precision": self.forecaster.precision},
            "weights": self.scorer.identities(),
        }

    def run(self, journal: Journal, processes: ProcessGroup) -> int:
        """Scores all clips that the journal does not have yet; gives how many those were."""
        journal.cut(len(journal.records) // self._batch_size * self._batch_size)
        before = len(journal.records)
        processes.share((self.chunk, before))
        with Progress(self.count, "clips", before) as progress:
            for records in self._rounds(before, processes):
                for record in records:
                    journal.add(record)
                progress.show(len(journal.records))
        return self.count - before

    def assist(self, processes: ProcessGroup) -> None:
        """Scores this process's share for the main one."""
        self.chunk, before = processes.share()
        for _ in self._rounds(before, processes):
            pass

    @property
    def _batch_size(self) -> int:
        """Clips that are encoded and drawn together."""
        return self.forecaster.batch_size or max(1, self.chunk // max(self.drawn, self.task.context))

    def _rounds(self, before: int, processes: ProcessGroup) -> Iterator[list[dict[str, Any]]]:
        """Clips' records in their order, as the main process gets them: each process scores some in every round."""
        batch_size = self._batch_size
        for first in range(before, self.count, batch_size * processes.size):
            begin = first + processes.rank * batch_size
            mine = range(begin, min(begin + batch_size, self.count))
            scored = list(self._score(mine)) if mine else []
            yield [record for share in processes.gather(scored) for record in share]

    def results(self, journal: Journal, seconds: float, done: int) -> dict[str, Any]:
        """What `results.json` holds."""
        records = journal.records
        results: dict[str, Any] = {"format": FORMAT, "version": VERSION} | self.identity()
        results["data"] = self.clips.about | {
            "name": str(self.clips),
            "data_set": self.clips.data_set,
            "sha256": digest_of(record["digest"] for record in records),
        }
        results["sampling"] |= {"chunk": self.chunk, "device": str(self.device)}
        results["made_by"] = {"stochvid": version("stochvid"), "torch": torch.__version__, "seconds": round(seconds, 1)}
        results["made_by"]["clips_per_second"] = round(done / seconds, 3)
        results["departures"] = self.departures
        results |= summarise(records)
        results["not_finite"]["values_clipped"] = sum(record.get("clipped", 0) for record in records)
        frames = self.task.context + self.task.horizon
        for metric in of_kind("clips", among=self.scorer.metrics):
            results[metric.name] = summarise_videos(records, metric, frames)
        return results

    def draw_best(self, path: Path, results: dict[str, Any]) -> None:
        """The clip whose best sample is the median: its truth, best, worst and random samples, and the mean of all."""
        scored = [clip for clip in results["clips"] if SHOWN_BY in clip]
        clip = sorted(scored, key=lambda clip: clip[SHOWN_BY]["best"])[len(scored) // 2]
        shown = {f"{which} of {self.drawn}": clip[SHOWN_BY][f"{which}_sample"] for which in ("best", "worst")}
        random = Streams(self.seed, "shown samples").at(clip["clip"])
        for number in sorted(random.choice(self.drawn, min(RANDOM_SHOWN, self.drawn), replace=False)):
            shown[f"sample {number + 1}"] = int(number)
        if self.drawn == 1:
            shown = {"prediction": 0}
        batch_size = self.forecaster.batch_size or 1
        begin, place = clip["clip"] // batch_size * batch_size, clip["clip"] % batch_size
        mates = range(begin, min(begin + batch_size, self.count))
        clips, context, truth = self._read(mates)
        futures: dict[int, Tensor] = {}
        total, count = torch.zeros_like(truth[place], dtype=torch.float32), 0
        for first, batch in self._draw(mates, clips):
            drawn = batch[place]
            whole = drawn[drawn.isfinite().flatten(1).all(1)]
            total, count = total + whole.sum(0), count + len(whole)
            futures |= {number: drawn[number - first] for number in shown.values() if 0 <= number - first < len(drawn)}
        tiles = {label: futures[number] for label, number in shown.items()}
        if self.drawn > 1:
            tiles[f"mean of {self.drawn}"] = total / count
        frames = (torch.stack(list(tiles.values())).nan_to_num() * 255).round().to(torch.uint8)
        title = f"{self.forecaster.name}, clip {clip['clip']} (median {METRICS[SHOWN_BY].label})"
        picture = FuturesPicture(
            context[place].cpu().numpy(), frames.cpu().numpy(), truth[place].cpu().numpy(), title, list(tiles)
        )
        picture.write_gif(path)

    def _score(self, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        clips, context, truth = self._read(numbers)
        chosen = [int(Streams(self.seed, "fvd sample").at(n).integers(self.drawn)) for n in numbers]
        frames = self.task.context + self.task.horizon
        tracks = [{name: track[i, :frames] for name, track in clips.tracks.items()} for i in range(len(numbers))]
        scores = [ClipScores(self.scorer, *clip) for clip in zip(context, truth, chosen, tracks, strict=True)]
        before = self.forecaster.clipped
        for _, drawn in self._draw(numbers, clips):
            for score, samples in zip(scores, drawn, strict=True):
                score.add(samples)
        for i, score in enumerate(scores):
            record = {"digest": digest(torch.cat([score.context, score.truth]).cpu().numpy())} | score.record()
            yield record | {"clipped": self.forecaster.clipped - before if i == 0 else 0}  # of all clips of this draw

    def _read(self, numbers: Sequence[int]) -> tuple[Clips, Tensor, Tensor]:
        """What is given, K frames and the tracks of K + T; then context (B, K, C, H, W) and truth, uint8."""
        clips, known = Clips.of_batch(self.clips.read(numbers)).to(self.device), self.task.context
        context, truth = clips.frames[:, :known], clips.frames[:, known : known + self.task.horizon]
        return clips._replace(frames=context), context, truth

    def _draw(self, numbers: Sequence[int], clips: Clips) -> Iterator[tuple[int, Tensor]]:
        """Number of the first sample, and samples (B, S', T, C, H, W), until there are enough."""
        step = max(1, self.chunk // len(numbers))
        for first in range(0, self.drawn, step):
            count = min(step, self.drawn - first)
            yield first, self.forecaster.draw(numbers, clips, self.task.horizon, first, count)
