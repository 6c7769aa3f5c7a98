"""Model cards: the README.md beside a model's weights, which the Hugging Face Hub shows."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from stochvid.config import TrainConfig
from stochvid.model_configs import ModelConfig, term_text

TASK = "video-to-video"
TAGS = ["pytorch", "stochvid", "video-prediction", "stochastic-video-generation", "uncertainty"]

TEMPLATE = """\
---
{{ card_data }}
---

# {{ name }}

Given the first {{ config.context }} frames of a clip, this model draws as many different futures as you ask for, and
says how uncertain every step is. It is {{ config.description }}, made with stochvid.

| | |
|---|---|
{% for name, value in facts -%}
| {{ name }} | {{ value }} |
{% endfor %}
## Use

```python
import stochvid

model = stochvid.load("THIS FOLDER OR OWNER/NAME")
{% if config.action_dim -%}
# context: {{ shape }}, [0, 1] or uint8
# led_to: (1, {{ config.context }}, {{ config.action_dim }}), the actions that led to each of its frames
# plan: (1, 1, {{ 2 * config.horizon }}, {{ config.action_dim }}), those from then on
given = stochvid.Clips(context, {"actions": led_to})
futures = model.predict(given, horizon={{ 2 * config.horizon }}, samples=20, actions=plan)
{% else -%}
futures = model.predict(context, horizon={{ 2 * config.horizon }}, samples=20)  # context: {{ shape }}, [0, 1] or uint8
{% endif -%}
futures.frames     # (1, 20, {{ 2 * config.horizon }}, {{ config.channels }}, {{ size }}, {{ size }}) in (0, 1)
futures.prior_std  # (1, 20, {{ 2 * config.horizon }}, {{ latents }}): how uncertain each step is
```

## Numbers

None yet: `stochvid evaluate MODEL --out RESULTS`, then `stochvid card MODEL RESULTS`.

## How it was made
{% if training %}
    stochvid train --config training.yaml

`training.yaml`, beside the weights, holds every setting, the seed included.
{% else %}
It comes without the settings of a training run.
{% endif %}
## Limits

It knows the kind of clips that it was trained on and no others. Its futures are samples of what it has learned, not
forecasts that anything should be decided by unseen: compare its uncertainty with what happens (`stochvid evaluate`,
`stochvid uncertainty`) on clips of your own first.
{% if findings %}
On held-out clips, after training:
{% for finding in findings %}
- {{ finding }}
{%- endfor %}
{% endif -%}
"""


def model_card(
    config: ModelConfig,
    *,
    name: str | None = None,
    weights: int,
    training: TrainConfig | None = None,
    validation: dict[str, str] | None = None,
    effort: str | None = None,
    findings: Sequence[str] = (),
) -> ModelCard:
    """A card, with the head that the Hub reads.

    Args:
        config: of the model.
        name: what it is called; None: what kind it is.
        weights: how many it has.
        training: the run that made it, if that is known.
        validation: row of that run's `metrics.csv` for these weights.
        effort: how long that run took, and on what.
        findings: what is wrong with it.
    """
    name = name or config.kind
    return ModelCard.from_template(
        ModelCardData(library_name="stochvid", pipeline_tag=TASK, tags=[*TAGS], model_name=name),
        template_str=TEMPLATE,
        name=name,
        config=config,
        latents=", ".join(map(str, config.latent_shape or (0,))),
        size=config.image_size,
        shape=f"(1, {config.context}, {config.channels}, {config.image_size}, {config.image_size})",
        facts=_facts(config, weights, training, validation, effort),
        training=training is not None,
        findings=findings,
    )


def put_numbers(card: ModelCard, evaluations: Sequence[tuple[dict[str, Any], str]]) -> None:
    """Puts evaluations into a card, in place of others: their tables under "Numbers", and numbers into the head.

    Args:
        card: is changed; what else it says stays.
        evaluations: results of `stochvid evaluate`, and each as a table.
    """
    tables = "\n".join(f"\n```\n{table}\n```\n" for _, table in evaluations)
    text, found = re.subn(
        r"(?m)^## Numbers\n.*?(?=^## |\Z)", lambda _: f"## Numbers\n{tables}\n", card.text, flags=re.S
    )
    card.text = text if found else f"{card.text}\n## Numbers\n{tables}"
    assert isinstance(card.data, ModelCardData)
    card.data.eval_results = [result for results, _ in evaluations for result in _eval_results(results)]
    card.data.model_name = card.data.model_name or evaluations[0][0]["name"]


def _facts(
    config: ModelConfig,
    weights: int,
    training: TrainConfig | None,
    validation: dict[str, str] | None,
    effort: str | None,
) -> list[tuple[str, str]]:
    c, colour = config, "grey" if config.channels == 1 else f"{config.channels} channels"
    facts = [
        ("task", f"video prediction, trained on {c.context} → {c.horizon} frames"),
        ("frames", f"{c.image_size}×{c.image_size}, {colour}"),
        ("network", f"{weights:,} weights, {c.network}"),
    ]
    if actions := getattr(c, "action_dim", 0):
        facts.append(("driven by", f"actions of {actions} number(s), in the units of the data"))
    if training is not None:
        d, t = training.data, training.trainer
        made = f"Moving MNIST, rules of {d.variant}, {d.num_digits} digit(s) ({d.digits})"
        facts += [
            ("trained on", f"a store of clips (`{PurePath(d.store).name}`)" if d.store else made),
            ("trained for", f"{t.max_steps:,} steps of {d.batch_size} clips at most, {t.precision}, seed {t.seed}"),
        ]
    if effort is not None:
        facts.append(("that took", effort))
    if validation is not None:
        known = [term for term in c.term_weights if validation.get(term)]
        terms = " and ".join(term_text(term, float(validation[term])) for term in known)
        facts.append(("held-out clips", f"{terms} per step, after {int(validation['step']):,} steps"))
    return facts


def _eval_results(results: dict[str, Any]) -> list[EvalResult]:
    """The best of all samples by each metric, as the Hub lists it."""
    setting = f"{results['setting']['context']} → {results['setting']['horizon']} frames"
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=results["data"].get("data_set") or results["data"].get("source", "clips"),
            dataset_name=results["data"]["name"],
            metric_type=metric,
            metric_name=f"{metric.upper()}, best of {results['sampling']['drawn']}, {results['protocol']['name']}, "
            f"{setting}",
            metric_value=round(kinds["best"]["mean"], 4),
        )
        for metric, kinds in results["metrics"].items()
        if kinds["best"]["mean"] is not None
    ]
