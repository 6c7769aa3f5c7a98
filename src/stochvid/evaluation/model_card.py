"""A model's card, with the numbers of its evaluations."""

from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import ModelCard
from yaml import YAMLError

from stochvid.command_options import takes
from stochvid.core.errors import InputError
from stochvid.core.files import replacing
from stochvid.evaluation.options import CardOptions
from stochvid.evaluation.results import read_results
from stochvid.evaluation.tables import evaluation_table
from stochvid.inference.trained import Trained
from stochvid.models.card import put_numbers
from stochvid.models.pretrained import CARD


@takes(CardOptions)
def write_card(options: CardOptions) -> Path:
    """Puts the numbers of evaluations into a model's card, the README.md in its folder; what else it says stays.

    Args:
        options: `CardOptions`, or their fields: the folder of a run or a model, and those of its evaluations.

    Returns:
        The file.

    Raises:
        InputError: there is no such model or evaluation, an evaluation is of other weights, or the card is none.
    """
    model = str(options.model)
    if not Path(model).is_dir():
        raise InputError(f"there is not a folder {model!r} here that has a card. Give that of a run or a model.")
    trained, scored = Trained.open(model, "cpu"), []
    weights = trained.sha256()
    for path in options.evaluations:
        results = read_results(path)
        if results["model"].get("sha256") != weights:
            raise InputError(
                f"evaluation {str(path)!r} is of {results['name']!r}, whose weights are not those of {model!r}. Give "
                "one of this model."
            )
        _name_store_alone(results["data"])
        scored.append((results, evaluation_table(results)))
    try:
        text = trained.network.documents.get(CARD)
        card = trained.network.generate_model_card() if text is None else ModelCard(text)
    except (ValueError, TypeError, YAMLError) as error:
        why = " ".join(str(error).split())
        raise InputError(
            f"{str(trained.folder / CARD)!r} is not a model card: {why:.100}. Delete it for a new one."
        ) from None
    put_numbers(card, scored)
    with replacing(trained.folder / CARD) as temporary:
        temporary.write_text(str(card), encoding="utf-8", errors="backslashreplace")
    print(trained.folder / CARD)
    return trained.folder / CARD


def _name_store_alone(data: dict[str, Any]) -> None:
    """Leaves out of what a card says where on this machine a store lies."""
    path = data.get("path")
    if isinstance(path, str) and isinstance(data.get("name"), str):
        data["name"] = data["name"].replace(path, PurePath(path).name)
