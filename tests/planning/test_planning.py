"""Planning: solvers on costs whose least is known, what plans cost against `predict`, and a planner that acts."""

import numpy as np
import pytest
import torch

from stochvid import InputError, Live
from stochvid.core.clips import ACTIONS, Clips
from stochvid.data.tracks import Track
from stochvid.models.noise import latent_noise
from stochvid.planning import CEM, MPPI, Costable, FeatureGoal, ImageGoal, Planner, RandomShooting, imagined_costs
from stochvid.planning.costs import as_goal, blurring
from tiny import make_clips, make_model, narrow, narrow_prime

LOW, HIGH = torch.tensor([-2.0, -2.0]), torch.tensor([2.0, 2.0])
TARGET = torch.tensor([[1.0, -1.5], [0.3, 0.9], [-1.2, 0.0]])
TOLD = {"mean": [0.0, 0.0], "std": [1.0, 1.0], "min": [-2.0, -2.0], "max": [2.0, 2.0]}


def driven(kind=narrow, **changes):
    model = make_model(kind(action_dim=2, **changes)).float()
    model.learn({ACTIONS: Track("float32", (2,), statistics=TOLD)})
    return model


def solve(solver, costs, seed=0, mean=None, std=1.0):
    mean = torch.zeros(3, 2) if mean is None else mean
    return solver.solve(costs, mean, torch.full((3, 2), std), LOW, HIGH, torch.Generator().manual_seed(seed))


def bowl(plans):
    return (plans - TARGET).square().sum((1, 2))


@pytest.mark.parametrize("solver", [CEM(100, 20, 10), MPPI(300, 30, 60, temperature=1.0)], ids=["cem", "mppi"])
def test_rounds_come_down_to_the_least_cost(solver):
    plan = solve(solver, bowl)
    assert plan.cost == pytest.approx(bowl(plan.actions[None]).item(), rel=1e-6)
    assert (plan.actions - TARGET).abs().max() < 0.1
    assert plan.rounds[-1] < 0.01 * plan.rounds[0]


def test_a_plan_that_is_known_is_tried_beside_the_drawn():
    options = (torch.zeros(3, 2), torch.full((3, 2), 1e-3), LOW, HIGH, torch.Generator().manual_seed(0))
    assert torch.equal(CEM(8, 1, 2).solve(bowl, *options, TARGET).actions, TARGET.expand(3, 2))
    assert CEM(8, 1, 2).solve(bowl, *options).cost > 0.1


def test_random_shooting_takes_the_best_of_all_that_it_drew():
    seen = []
    plan = solve(RandomShooting(50, 4), lambda plans: (seen.append(plans), bowl(plans))[1])
    drawn = torch.cat(seen)
    assert len(drawn) == 200
    assert torch.equal(plan.actions, drawn[bowl(drawn).argmin()])


@pytest.mark.parametrize("kind", [CEM, MPPI, RandomShooting])
def test_plans_stay_within_the_bounds_begin_at_the_mean_and_are_a_function_of_the_seed(kind):
    seen = []

    def costs(plans):
        seen.append(plans)
        return -plans.sum((1, 2))  # the further out the better

    mean = torch.full((3, 2), 0.5)
    plan = solve(kind(64, 8, 8), costs, mean=mean, std=3.0)
    assert torch.equal(seen[0][0], mean)
    assert all((plans >= LOW).all() and (plans <= HIGH).all() for plans in seen)
    assert plan.cost <= -10.0
    assert torch.equal(solve(kind(64, 8, 8), costs, mean=mean, std=3.0).actions, plan.actions)
    assert not torch.equal(solve(kind(64, 8, 8), costs, 1, mean, 3.0).actions, plan.actions)


@pytest.mark.parametrize("changes", [{"num_samples": 1}, {"n_steps": 0}, {"topk": 0}, {"keep": 1.0}, {"var_scale": 0}])
def test_solvers_refuse_what_makes_no_sense(changes):
    with pytest.raises(InputError, match=f"solver.{next(iter(changes))}"):
        CEM(**changes)


# -------------------------------------------------------------------------------------------------------------- costs


def test_a_blur_is_that_of_scipy():
    from scipy.ndimage import gaussian_filter

    images = np.random.default_rng(0).random((2, 3, 24, 24)).astype(np.float32)
    for sigma, side in ((1.5, 1), (3.0, 3), (5.0, 5)):
        lens = blurring(24, sigma)
        blurred = gaussian_filter(images, (0, 0, sigma, sigma), mode="reflect", truncate=3)
        kept = 24 // side * side
        means = blurred[..., :kept, :kept].reshape(2, 3, kept // side, side, kept // side, side).mean((3, 5))
        np.testing.assert_allclose((lens @ torch.from_numpy(images) @ lens.T).numpy(), means, atol=1e-6)
    assert blurring(8, 16.0).numpy() == pytest.approx(np.full((1, 8), 1 / 8))
    assert blurring(24, 3.0).sum(0).numpy() == pytest.approx(np.full(24, 1 / 3), abs=1e-6)  # every pixel counts alike


def test_a_small_thing_in_the_wrong_place_costs_alike_under_every_blur():
    frames = torch.zeros(1, 1, 1, 3, 128, 128)
    frames[..., 30:33, 30:33] = 1
    goal = torch.zeros(3, 128, 128)
    goal[..., 92:95, 92:95] = 1
    costs = [ImageGoal(goal, blurs=(sigma,))(frames).item() for sigma in (2, 4, 8)]
    assert max(costs) < 1.3 * min(costs)


def dot(x: int) -> torch.Tensor:
    picture = torch.zeros(1, 64, 64)
    picture[:, 30:34, x : x + 4] = 1
    return picture


def test_a_dot_that_is_nearer_to_its_goal_costs_less_however_far_both_are():
    frames = torch.stack([dot(x) for x in (10, 20, 30, 40, 50)])[:, None, None]  # (N, S, T, C, H, W)
    costs = ImageGoal(dot(50))(frames)[:, 0]
    assert (costs.diff() < 0).all()
    assert costs[-1].item() == pytest.approx(0, abs=1e-12)
    sharp = ImageGoal(dot(50), blurs=(0,))(frames)[:, 0]
    assert sharp[0] == sharp[1] == sharp[2]  # without blurs it is one cost until it is there


def test_the_way_counts_beside_the_end():
    straight, late = [torch.stack([dot(x) for x in way])[None, None] for way in ((30, 50, 50), (10, 10, 50))]
    assert ImageGoal(dot(50))(straight) < ImageGoal(dot(50))(late)
    for way in (straight, late):
        assert ImageGoal(dot(50), path=0)(way).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", [narrow, narrow_prime])
def test_features_of_the_goal_cost_nothing_and_others_do(kind):
    model = driven(kind)
    frames = make_clips(model.config, 3)[:, None].float()
    costs = FeatureGoal(model, frames[0, 0, -1], path=0)(frames)
    assert costs[0, 0].item() == pytest.approx(0, abs=1e-8)
    assert costs[1, 0] > 1e-6


# ------------------------------------------------------------------------------------------------------------ planner


@pytest.mark.parametrize(
    ("kind", "changes"), [(narrow, {}), (narrow_prime, {"output": "composed"}), (narrow, {"prior": "none"})]
)
def test_what_a_plan_costs_is_what_its_predicted_futures_cost(kind, changes):
    model = driven(kind, **changes)
    frames = make_clips(model.config, 3, batch=1).float()
    told = {ACTIONS: torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(1))}
    plans = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(2))
    samples, goal = 3, ImageGoal(frames[0, 0], blurs=(0, 2))
    fast = model.for_inference()
    state = fast.observe(Clips(frames, told), decode=False).state
    noise = latent_noise(4, [9], samples, 4, model.latent_shape)
    costs = imagined_costs(fast, state, plans, noise, goal)
    for plan, cost in zip(plans, costs, strict=True):
        drawn = model.predict_from(state, 4, samples, 4, clip_id=9, actions=plan[None, None])
        expected = goal(drawn.frames)[0]
        assert cost.item() == pytest.approx(expected.mean().item(), rel=1e-4)
        careful = imagined_costs(fast, state, plan[None], noise, goal, risk=2.0, uncertainty=3.0)
        more = 3.0 * drawn.prior_std.mean().item() if model.stochastic else 0.0
        assert careful.item() == pytest.approx((expected.mean() + 2.0 * expected.std()).item() + more, rel=1e-4)


def test_a_planner_acts_within_bounds_and_again_alike():
    model = driven()
    frames = (make_clips(model.config, 6, batch=1)[0].permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    goal = as_goal(model, frames[-1])

    def run(**changes):
        options = {"horizon": 3, "samples": 2, "seed": 1} | changes
        planner = Planner(model, ImageGoal(goal), CEM(16, 2, 4), **options)
        return np.stack([planner.act(frame) for frame in frames]), planner

    actions, planner = run()
    assert actions.shape == (6, 2)
    assert np.abs(actions).max() <= 2
    assert planner.live.frames == 6
    assert np.array_equal(run()[0], actions)
    assert not np.array_equal(run(seed=2)[0], actions)
    planner.reset()
    assert np.array_equal(np.stack([planner.act(frame) for frame in frames]), actions)
    held, planner = run(receding_horizon=3)
    assert np.array_equal(held[0], actions[0])
    np.testing.assert_array_equal(held[3:], planner.plan.actions.numpy())
    near = run(low=torch.tensor([0.1, 0.2]), high=torch.tensor([0.3, 0.4]))[0]
    assert (near >= np.float32([0.1, 0.2])).all()
    assert (near <= np.float32([0.3, 0.4])).all()


def test_what_is_done_reaches_the_state():
    model = driven()
    frames = (make_clips(model.config, 4, batch=1)[0].permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    actions = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    live = Live(model, context=2)
    for frame, action in zip(frames, actions, strict=True):
        live.see(frame, None if live.frames == 0 else action)
    fast = model.for_inference()
    tracks = {ACTIONS: torch.from_numpy(np.concatenate([np.zeros((1, 2), np.float32), actions[1:]]))[None]}
    whole = fast.observe(Clips(torch.from_numpy(frames.transpose(0, 3, 1, 2).copy())[None], tracks), decode=False).state
    for mine, other in zip(live.state.predictor, whole.predictor, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    plan = torch.randn(1, 1, 3, 2)
    drawn = live.futures(3, 2, actions=plan)
    assert drawn.frames.shape == (1, 2, 3, 1, 32, 32)
    with pytest.raises(InputError, match="there are none"):
        live.futures(3, 2)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Planner(make_model(narrow()).float(), bowl), "SVG-LP. is not driven by actions"),
        (lambda: Planner(driven(), bowl, horizon=0), "horizon must be at least 1"),
        (lambda: Planner(driven(), bowl, horizon=2, receding_horizon=3), "at most the steps of a plan, 2, got 3"),
        (lambda: Planner(driven(), bowl).make_plan(), "nothing was seen yet"),
        (lambda: Live(driven()).see(np.zeros((9, 9), np.uint8), np.zeros(3)), "an action must be 2 finite number"),
        (lambda: Live(driven()).see(np.zeros((9, 9), np.uint8), np.full(2, np.nan)), "2 finite number"),
        (lambda: Live(make_model(narrow()).float()).see(np.zeros((9, 9)), np.zeros(2)), "not driven by actions"),
        (lambda: as_goal(driven(), np.zeros((9, 9))), "must be a picture"),
    ],
)
def test_what_makes_no_sense_is_refused(make, told):
    with pytest.raises(InputError, match=told):
        make()


def test_every_frame_but_the_first_needs_its_action():
    live = Live(driven())
    live.see(np.zeros((32, 32), np.uint8))
    with pytest.raises(InputError, match="every frame but the first needs its action"):
        live.see(np.zeros((32, 32), np.uint8))
    assert live.frames == 1


# ------------------------------------------------------------------------------------------------- solvers of others


def solved_by_others(model, info, shape, rounds=3, kept=4):
    """A cross-entropy solver as stable-worldmodel has it: it knows of a model what `get_cost` says, and no more."""
    mean, std, generator = torch.zeros(shape[0], *shape[2:]), 1.0, torch.Generator().manual_seed(0)
    costs = []
    for _ in range(rounds):
        plans = torch.randn(shape, generator=generator) * std + mean[:, None]
        cost = model.get_cost(info, plans)
        assert cost.shape == shape[:2]
        best = cost.topk(kept, 1, largest=False)
        chosen = torch.stack([plan[i] for plan, i in zip(plans, best.indices, strict=True)])
        mean, std = chosen.mean(1), chosen.std(1)[:, None]
        costs.append(best.values.mean().item())
    return costs


@pytest.mark.parametrize("known", [1, 3])
def test_solvers_of_others_get_the_costs_of_imagined_futures(known):
    model = driven()
    model.learn({ACTIONS: Track("float32", (2,), statistics=TOLD | {"mean": [5.0, 5.0], "std": [3.0, 3.0]})})
    frames, goals = make_clips(model.config, known).float(), make_clips(model.config, 1, seed=5).float()
    done = torch.randn(2, known, 2, generator=torch.Generator().manual_seed(3))
    info = {"pixels": frames, "goal": goals, "action": done}
    info = {name: x[:, None].expand(-1, 6, *x.shape[1:]) for name, x in info.items()}
    plans = torch.randn(2, 6, 4, 2, generator=torch.Generator().manual_seed(4))
    costs = Costable(model, samples=2, seed=3).get_cost(info, plans)
    fast, noise = model.for_inference(), latent_noise(3, [known], 2, 4, model.latent_shape)
    for i in range(2):
        led = torch.cat([torch.zeros(1, 2), 3 * done[i, : known - 1] + 5])[None]
        state = fast.observe(Clips(frames[i : i + 1], {ACTIONS: led}), decode=False).state
        expected = imagined_costs(fast, state, 3 * plans[i] + 5, noise, ImageGoal(goals[i, 0]))
        torch.testing.assert_close(costs[i], expected, rtol=1e-4, atol=1e-6)
    in_units = info | {"action": 3 * info["action"] + 5}
    raw = Costable(model, samples=2, seed=3, standardised=False).get_cost(in_units, 3 * plans + 5)
    torch.testing.assert_close(raw, costs, rtol=1e-4, atol=1e-6)
    grouped = Costable(model, samples=2, seed=3).get_cost(info, plans.reshape(2, 6, 2, 4))  # two actions in a step
    torch.testing.assert_close(grouped, costs)
    with pytest.raises(InputError, match="with 2 number"):
        Costable(model).get_cost(info, plans[..., :1])
    told = solved_by_others(Costable(model), info, (2, 6, 4, 2))
    assert told[-1] <= told[0]
    larger = dict(info)
    for name in ("pixels", "goal"):
        larger[name] = info[name].repeat_interleave(2, -1).repeat_interleave(2, -2)
    again = Costable(model, samples=2, seed=3).get_cost(larger, plans)
    torch.testing.assert_close(again, costs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lacking", ["pixels", "goal", "action"])
def test_what_solvers_of_others_leave_out_is_named(lacking):
    model = driven()
    info = {"pixels": torch.zeros(1, 2, 3, 1, 32, 32), "goal": torch.zeros(1, 2, 1, 1, 32, 32)}
    info["action"] = torch.zeros(1, 2, 3, 2)
    info.pop(lacking)
    with pytest.raises(InputError, match=f"info_dict needs '{lacking}'"):
        Costable(model).get_cost(info, torch.zeros(1, 2, 4, 2))
    with pytest.raises(InputError, match="not driven by actions"):
        Costable(make_model(narrow()).float())
