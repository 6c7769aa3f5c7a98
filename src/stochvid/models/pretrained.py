"""Saving, loading and sharing a model as a folder: `config.json` + `model.safetensors`, strict and without pickle."""

import dataclasses
import json
from pathlib import Path, PurePath
from typing import Any, Self

import torch
import yaml
from huggingface_hub import ModelCard, PyTorchModelHubMixin, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from stochvid.config import CLIPS, HEALTH, TRAINING, model_from_dict, shipped_models
from stochvid.core.errors import InputError, alike
from stochvid.core.files import replacing, writable_folder
from stochvid.core.untrusted import MOST_JSON, parse_yaml, read_json, read_text, shown
from stochvid.model_configs import PAPER, ModelConfig
from stochvid.models.card import TAGS, TASK, model_card

MODEL_CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
DOCUMENTS = (CARD, TRAINING, CLIPS, HEALTH)  # what may lie beside the two


class Pretrained(
    torch.nn.Module,
    PyTorchModelHubMixin,
    library_name="stochvid",
    pipeline_tag=TASK,
    tags=[*TAGS],
    paper_url=PAPER,
):
    """Gives a model that is built from a `config` the methods `save_pretrained`, `from_pretrained` and `push_to_hub`.

    Saving and pushing are those of the Hugging Face Hub's mixin. Loading is our own: strict, and in our words.

    Attributes:
        config: what it is built from.
        documents: texts that travel with the weights, by file name: the model card, the run's config, clips' sizes.
    """

    config: ModelConfig
    documents: dict[str, str]

    def save_pretrained(self, folder: str | Path, **options: Any) -> str | None:  # type: ignore[override]  # fewer options
        """Writes `config.json`, `model.safetensors`, a model card and the documents into a folder, made if missing.

        Args:
            folder: where to.
            options: of `huggingface_hub.ModelHubMixin.save_pretrained`.

        Raises:
            InputError: the folder cannot be written to.
            RuntimeError: this is a copy for inference.
        """
        if getattr(self, "frozen", False):
            raise RuntimeError("a copy for inference has no batch-norm any more. Save the model that it was made from.")
        return super().save_pretrained(writable_folder(folder), **options)

    def push_to_hub(self, *words: Any, **options: Any) -> str:
        """Shares the model on the Hugging Face Hub, where its `training.yaml` names no folder of this machine.

        Args:
            words: of `huggingface_hub.ModelHubMixin.push_to_hub`, the repository first.
            options: likewise.

        Raises:
            InputError: `training.yaml` cannot be read.
        """
        documents = self.documents
        if TRAINING in documents:
            self.documents = documents | {TRAINING: _without_folders(documents[TRAINING])}
        try:
            return super().push_to_hub(*words, **options)
        finally:
            self.documents = documents

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        with replacing(save_directory / WEIGHTS) as path:
            path.write_bytes(save(weights, metadata={"format": "pt"}))
        texts = {CARD: str(self.generate_model_card())} | self.documents
        texts[MODEL_CONFIG] = json.dumps(dataclasses.asdict(self.config), indent=2) + "\n"
        for name, text in texts.items():
            with replacing(save_directory / name) as path:
                path.write_text(text, encoding="utf-8", errors="backslashreplace")  # names are any bytes

    def generate_model_card(self, *_: Any, **options: Any) -> ModelCard:
        """The card of a model that has none yet; options as `card.model_card`."""
        count = sum(weights.numel() for weights in self.parameters())
        return model_card(self.config, weights=count, **options)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # strict, with a device
        cls, model: str | Path, *, device: str | torch.device = "cpu", **hub_options: Any
    ) -> Self:
        """Loads a model in eval mode, of any family that is a subclass of this class.

        Args:
            model: folder of a model, folder of a finished run, a shipped model (one of
                `stochvid.config.shipped_models`), or a repository `owner/name` of the Hugging Face Hub.
            device: where to put it.
            hub_options: options of `huggingface_hub.snapshot_download`, such as `revision`.

        Raises:
            InputError: there is no such model, or its config and weights are broken or do not fit each other.
        """
        folder = find_model(str(model), **hub_options)
        config = _read_config(folder / MODEL_CONFIG)
        kind = config.model_class()
        if not issubclass(kind, cls):
            raise InputError(
                f"model {str(model)!r} is {config.kind}, of the family {config.family!r}, not {cls.__name__}. "
                "stochvid.load loads models of any family."
            )
        with torch.device("meta"):  # shapes alone: a config that does not fit its weights shall take no memory
            expected = kind(config).state_dict()
        weights = _read_weights(folder / WEIGHTS, expected)
        loaded = kind(config)
        loaded.load_state_dict(weights)
        loaded.documents = {name: _read_text(folder / name) for name in DOCUMENTS if (folder / name).is_file()}
        return loaded.to(device).eval()


def find_model(model: str, **hub_options: Any) -> Path:
    """The folder that holds the two files of a model; arguments and errors as `Pretrained.from_pretrained`."""
    folder, shipped = Path(model), shipped_models()
    if model in shipped and not any((folder / part).exists() for part in (MODEL_CONFIG, "model", "checkpoints")):
        folder = shipped[model]  # results of it may well lie in a folder of its name
    if folder.is_file():
        raise InputError(
            f"model {model!r} is a file. The model comes first: the folder of a finished run or of a model, or a "
            f"shipped model's name ({', '.join(shipped)}); then the clips."
        )
    if not folder.is_dir():
        folder = _download(model, hub_options)
    if not (folder / MODEL_CONFIG).is_file() and (folder / "model" / MODEL_CONFIG).is_file():
        folder = folder / "model"  # the folder of a run
    if (folder / "checkpoints").is_dir() and not (folder / MODEL_CONFIG).is_file():
        raise InputError(f"run {str(folder)!r} has no model yet. Let it end: stochvid train --resume {folder}")
    for name in (MODEL_CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(
                f"model folder {str(folder)!r} has no {name}. Give a folder that holds {MODEL_CONFIG} and {WEIGHTS}: "
                "the folder of a finished run, or the 'model' folder in it."
            )
    return folder


def _download(model: str, hub_options: dict[str, Any]) -> Path:
    shipped = alike(model, shipped_models())
    fix = (
        f"Did you mean {' or '.join(shipped)}?"
        if shipped
        else "Give the folder of a finished run or of a model, a shipped model's name "
        f"({', '.join(shipped_models())}), or owner/name."
    )
    missing = InputError(
        f"model {model!r} is neither a folder here nor a repository of the Hugging Face Hub that can be reached. {fix}"
    )
    if model.count("/") != 1 or model.startswith((".", "/", "runs/")) or model.endswith("/"):
        raise missing
    try:
        return Path(snapshot_download(model, allow_patterns=[MODEL_CONFIG, WEIGHTS, *DOCUMENTS], **hub_options))
    except (OSError, ValueError):  # every error of the hub is one of these
        raise missing from None


def _without_folders(training: str) -> str:
    """A run's config with the names alone of what it was trained on, and without comments."""
    try:
        values = parse_yaml(training)
        for name in ("store", "mnist"):
            if values["data"].get(name):
                values["data"][name] = PurePath(values["data"][name]).name
        return yaml.safe_dump(values, sort_keys=False)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"the model's {TRAINING} is not a config ({error!s:.100}). Delete it to share the model."
        ) from None


def _read_text(path: Path) -> str:
    try:
        return read_text(path, MOST_JSON)
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read as text: {error}.") from None


def _read_config(path: Path) -> ModelConfig:
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} is not valid JSON: {error!s:.200}.") from None
    return model_from_dict(values, repr(str(path)))


def _read_weights(path: Path, expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    try:
        weights = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{str(path)!r} is not a readable safetensors file: {error!s:.200}.") from None
    problems = [f"{name!r} is missing" for name in expected if name not in weights]
    problems += [f"{shown(name)} has no place" for name in weights if name not in expected]
    problems += [
        f"{name!r} is {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(
            f"{str(path)!r} does not belong to the {MODEL_CONFIG} beside it: {problems[0]}{more}. "
            "Use the two files of one model."
        )
    if found := unusable(weights):
        raise InputError(
            f"{str(path)!r}: {found}, so nothing can be drawn with it. Its training diverged, or the file is damaged: "
            "take an earlier model."
        )
    return weights


def unusable(weights: dict[str, torch.Tensor]) -> str | None:
    """What is wrong with weights that have the right names and shapes, or None: a model of NaN computes NaN alone."""
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            return f"{name!r} holds NaN or infinite numbers"
        if name.endswith("running_var") and (tensor < 0).any():
            return f"{name!r} holds variances below 0"
    return None
