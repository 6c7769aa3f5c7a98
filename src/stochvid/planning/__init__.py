"""Planning in imagined futures: what to do so that a model's futures come to cost little."""

from stochvid.planning.adapters import Costable
from stochvid.planning.costs import FeatureGoal, ImageGoal
from stochvid.planning.planner import Planner, imagined_costs
from stochvid.planning.solvers import CEM, MPPI, Plan, RandomShooting

__all__ = ["CEM", "MPPI", "Costable", "FeatureGoal", "ImageGoal", "Plan", "Planner", "RandomShooting", "imagined_costs"]
