"""A model's card, with the numbers of its evaluations."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from stochvid.config import TRAINING, load_config
from stochvid.errors import InputError
from stochvid.evaluation.results import read_results
from stochvid.evaluation.tables import evaluation_table
from stochvid.files import replacing
from stochvid.models.card import model_card
from stochvid.models.pretrained import CARD, WEIGHTS, find_model
from stochvid.models.svg import SVG
from stochvid.runs import folder_name, validation_of


def write_card(model: str, evaluations: Sequence[str | Path], name: str | None = None) -> Path:
    """Writes the README.md of a model's folder.

    Args:
        model: the folder of a run or a model.
        evaluations: folders that `stochvid evaluate` made of it.
        name: what the model is called; None: as its run.

    Returns:
        The file.

    Raises:
        InputError: there is no such model or evaluation, or an evaluation is of other weights.
    """
    if not Path(model).is_dir():
        raise InputError(f"there is no folder {model!r} here to put a card into. Give that of a run or a model.")
    folder = find_model(model)
    network = SVG.from_pretrained(folder)
    with open(folder / WEIGHTS, "rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    scored = []
    for path in evaluations:
        results = read_results(path)
        if results["model"].get("sha256") != weights:
            raise InputError(
                f"evaluation {str(path)!r} is of {results['name']!r}, whose weights are not those of {model!r}. Give "
                "one of this model."
            )
        scored.append((results, evaluation_table(results)))
    training = load_config(folder / TRAINING) if (folder / TRAINING).is_file() else None
    card = model_card(
        network.config,
        name=name or folder_name(model),
        weights=sum(p.numel() for p in network.parameters()),
        training=training,
        validation=validation_of(folder),
        evaluations=scored,
    )
    with replacing(folder / CARD) as temporary:
        temporary.write_text(card, encoding="utf-8")
    return folder / CARD
