"""The oracle of sprites: displacement by displacement, in the plainest way.

Sprites are shown by adding up shifted copies, matches are sums over shifted frames, nothing is a matrix or a transform.
"""

import torch
from torch.nn import functional as F


def leaky(x):
    return F.leaky_relu(x, 0.1)


def perceptron(weights, name, x):
    hidden = leaky(x @ weights[f"{name}.0.weight"].T + weights[f"{name}.0.bias"])
    return hidden @ weights[f"{name}.2.weight"].T + weights[f"{name}.2.bias"]


def block(weights, name, x, stride=1):
    x = F.conv2d(x, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], stride, 1)
    return leaky(F.group_norm(x, x.shape[1] // 4, weights[f"{name}.1.weight"], weights[f"{name}.1.bias"]))


def shifted(x, down, right):
    """x (…, H, W) moved, with nothing coming in."""
    height, width = x.shape[-2:]
    moved = torch.zeros_like(x)
    kept = x[..., max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    moved[..., max(0, down) : height - max(0, -down), max(0, right) : width - max(0, -right)] = kept
    return moved


class OracleSprites:
    """What a model of sprites computes, of one clip at a time.

    Args:
        model: whose weights it takes.
    """

    def __init__(self, model):
        self.config, self.weights = model.config, dict(model.named_parameters())

    def cut(self, frames):
        """frames (T, C, H, W) → opacities [(H, W)], colours [(C, H, W)], background (C, H, W)."""
        c, w = self.config, self.weights
        seen = [frames[min(t, len(frames) - 1)] for t in range(c.context)]
        size = c.image_size
        line = torch.linspace(-1, 1, size).to(frames)
        place = [line[:, None].expand(size, size), line[None].expand(size, size)]
        x = torch.cat([*seen, *self.motion(seen), torch.stack(place)])[None]
        maps = [block(w, "segmenter.first", x)]
        level = 0
        while maps[-1].shape[-1] > 4:
            maps.append(block(w, f"segmenter.down.{level}", maps[-1], 2))
            level += 1
        h = maps.pop()
        h = h + perceptron(w, "segmenter.whole", h.reshape(1, -1)).reshape(h.shape)
        for i in range(level):
            larger = h.repeat_interleave(2, -1).repeat_interleave(2, -2)
            h = block(w, f"segmenter.up.{i}", torch.cat([larger, maps.pop()], 1))
        out = F.conv2d(torch.cat([h, x], 1), w["segmenter.last.weight"], w["segmenter.last.bias"], 1, 1)[0]
        k = c.sprites
        total = sum(out[i].exp() for i in range(k + 1))
        shares = [out[i].exp() / total for i in range(1, k + 1)]
        opacities = [share + (1 - share) * torch.sigmoid(out[k + 1 + i] - 3.0) for i, share in enumerate(shares)]
        colours = []
        for i in range(k + 1):
            change = torch.sigmoid(out[2 * k + 1 + i] - 3.0)
            start = 3 * k + 2 + i * c.channels
            colours.append((1 - change) * frames[0] + change * torch.sigmoid(out[start : start + c.channels]))
        return opacities, colours[1:], colours[0]

    def motion(self, seen):
        """Where what is at a pixel goes, in the second frame and in all: six maps."""
        size, factor = self.config.image_size, 1
        if len(seen) == 1:
            return []
        while self.config.reach > 4 * factor:
            factor *= 2
        reach = -(-self.config.reach // factor)
        blocks = size // factor
        small = [x.reshape(-1, blocks, factor, blocks, factor).mean((2, 4)) for x in seen]
        half, maps = blocks // 2, []
        for used in ([1], range(1, len(seen))):
            scores, steps = [], []
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    score = 0.0
                    for t in used:
                        squares = (shifted(small[t], -down * t, -right * t) - small[0]).square().sum(0)
                        coarse = squares.reshape(half, 2, half, 2).mean((1, 3))
                        near = [shifted(coarse, i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
                        score = score + sum(near) / 9 / len(used)
                    scores.append(-score * self.weights["motion.sharpness"].exp())
                    steps.append((down / reach, right / reach))
            match = torch.softmax(torch.stack(scores), 0)
            of_both = [sum(p * step[axis] for p, step in zip(match, steps, strict=True)) for axis in (0, 1)]
            maps += [*of_both, match.square().sum(0)]
        return [x.repeat_interleave(2 * factor, 0).repeat_interleave(2 * factor, 1)[None] for x in maps]

    def features(self, opacity):
        mass, size = opacity.sum() + 1, self.config.image_size
        profile = torch.cat([opacity.sum(1), opacity.sum(0)]) * size / 8 / mass
        x = torch.cat([profile, (mass * 20 / size**2)[None]])
        return leaky(self.weights["dynamics.see.0.weight"] @ x + self.weights["dynamics.see.0.bias"])

    def centre(self, opacity):
        size, total, moment = self.config.image_size, 0.0, opacity.new_zeros(2)
        for i in range(size):
            for j in range(size):
                offset = opacity.new_tensor([i - (size - 1) / 2, j - (size - 1) / 2])
                total, moment = total + opacity[i, j], moment + opacity[i, j] * offset
        return moment / (total + 1e-3)

    def match(self, opacity, colour, frame):
        """colour (C, H, W), times its opacity."""
        reach, scores = self.config.reach, []
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                there = shifted(frame, -down, -right)
                scores.append((opacity * there.square() - 2 * colour * there).sum() / (opacity.sum() + 1))
        return torch.softmax(-torch.stack(scores) * self.weights["dynamics.sharpness"].exp(), 0)

    def gaussian(self, name, x, about):
        mean, log_var = perceptron(self.weights, name, x).chunk(2)
        return (about + mean).clamp(-2.0, 2.0), (log_var - 4.0).clamp(-8.0, 4.0)

    def displacement(self, match):
        """What a match says in the mean: down and right, as parts of the reach."""
        reach, sides = self.config.reach, 2 * self.config.reach + 1
        mean = [match.new_zeros(()) for _ in range(2)]
        for i in range(sides):
            for j in range(sides):
                mean[0] = mean[0] + match[i * sides + j] * (i - reach) / reach
                mean[1] = mean[1] + match[i * sides + j] * (j - reach) / reach
        return torch.stack(mean)

    def kernel(self, place, variance):
        """Weights of moving by so many pixels along one axis."""
        size, middle = self.config.image_size, round(place.item())

        def bell(d):
            return (-((d - place) ** 2) / (2 * (variance + 0.07))).exp()

        total = sum(bell(d) for d in range(middle - size, middle + size + 1))
        return {d: bell(d) / total for d in range(1 - size, size)}

    def shown(self, x, place, variance):
        """x (…, H, W) where its sprite is."""
        down = sum(w * shifted(x, d, 0) for d, w in self.kernel(place[0], variance).items())
        return sum(w * shifted(down, 0, d) for d, w in self.kernel(place[1], variance).items())

    def cell(self, x, memory):
        w = self.weights
        r, z, n = (w["dynamics.cell.weight_ih"] @ x + w["dynamics.cell.bias_ih"]).chunk(3)
        hr, hz, hn = (w["dynamics.cell.weight_hh"] @ memory + w["dynamics.cell.bias_hh"]).chunk(3)
        reset, keep = torch.sigmoid(r + hr), torch.sigmoid(z + hz)
        return (1 - keep) * torch.tanh(n + reset * hn) + keep * memory

    def compose(self, shown, background):
        frame = background
        for sprite in shown:
            frame = sprite[1:] + (1 - sprite[0]) * frame
        return frame

    def better_cut(self, frames):
        """As `cut`, and places [(2)]: cut out of the first given frame, or of the last one and followed back."""
        seen, found = frames[: self.config.context], []
        for given in (seen, seen.flip(0)):
            sprites = self.cut(given)
            start = [frames.new_zeros(2) for _ in sprites[0]]
            made, _, _, places = self.roll(given, None, sprites, start)
            found.append(((made - given).square().mean(), sprites, start if given is seen else places))
        return found[1 if found[1][0] < found[0][0] else 0][1:]

    def clip(self, frames, noise, added=0.0, trains=False):
        """A clip (T, C, H, W) under the posterior, and so many frames under the prior; noise (T − 1 + horizon, K, 2).

        Args:
            added: the variance of places that a step adds, while it trains.
            trains: whether this is the loss, where sprites are cut out of the first frame alone.

        Returns:
            frames from the first on; and of each step posterior or prior (mean, log_var), and prior (K, 2).
        """
        if trains or min(len(frames), self.config.context) == 1:
            sprites, places = self.cut(frames), [frames.new_zeros(2) for _ in range(self.config.sprites)]
        else:
            sprites, places = self.better_cut(frames)
        return self.roll(frames, noise, sprites, places, added)[:3]

    def roll(self, frames, noise, sprites, places, added=0.0):
        """As `clip`, of sprites that were cut out, from these places; and the last places. Without noise, by means."""
        opacities, colours, background = sprites
        places = list(places)
        cut = [torch.cat([a[None], a * c]) for a, c in zip(opacities, colours, strict=True)]
        memories = [frames.new_zeros(self.config.rnn_size) for _ in cut]
        last = [frames.new_zeros(2) for _ in cut]
        spread = 0.0

        def moved():
            return [self.shown(x, place, spread) for x, place in zip(cut, places, strict=True)]

        there = moved()
        made, chosen, priors = [self.compose(there, background)], [], []
        middles = [self.centre(opacity) for opacity in opacities]
        for t in range(len(frames) - 1 if noise is None else len(noise)):
            latents = []
            for k in range(self.config.sprites):
                opacity, colour = there[k][0], there[k][1:]
                seen = self.features(opacity)
                where = (middles[k] + places[k]) / self.config.reach
                known = torch.cat([memories[k], seen, last[k], where])
                prior = told = self.gaussian("dynamics.prior", known, last[k])
                if t + 1 < len(frames):
                    match = self.match(opacity, colour, frames[t + 1])
                    told = self.gaussian("dynamics.posterior", torch.cat([known, match]), self.displacement(match))
                last[k] = told[0] if noise is None else told[0] + (told[1] / 2).exp() * noise[t, k]
                places[k] = places[k] + self.config.reach * last[k]
                memories[k] = self.cell(torch.cat([seen, last[k]]), memories[k])
                latents.append((told, prior))
            spread = spread + added
            there = moved()
            made.append(self.compose(there, background))
            chosen.append([torch.stack([told[i] for told, _ in latents]) for i in (0, 1)])
            priors.append([torch.stack([prior[i] for _, prior in latents]) for i in (0, 1)])
        return torch.stack(made), chosen, priors, places

    def terms(self, frames, noise, trains):
        """frames (B, T, C, H, W), noise (B, T − 1, K, 2) → MSE of all frames, and KL of a step."""
        errors, nats = [], []
        added = self.weights["dynamics.doubt"].clamp(min=-4.0).exp() if trains else 0.0
        for clip, drawn in zip(frames, noise, strict=True):
            made, chosen, priors = self.clip(clip, drawn, added, trains=True)
            errors.append((made - clip).square().mean())
            for (mean, log_var), (prior_mean, prior_log_var) in zip(chosen, priors, strict=True):
                q = torch.distributions.Normal(mean, (log_var / 2).exp())
                p = torch.distributions.Normal(prior_mean, (prior_log_var / 2).exp())
                nats.append(torch.distributions.kl_divergence(q, p).sum())
        return torch.stack(errors).mean(), torch.stack(nats).mean()
