"""The oracle: SVG and SVG′ as the papers run them, frame by frame and sample by sample, in the plainest way.

Written from the papers and DESIGN sections 1 and 9 alone: skips are concatenated, LSTMs are cells stepped by hand,
every frame is encoded where the loop meets it (twice, when it is both an input and a target). It is slow on purpose.
The fast models must equal it in eval-mode batch-norm; `benchmarks/` measures against it.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from stochvid.model_configs import SVGConfig, SVGPrimeConfig
from stochvid.models.backbones import JoinedConv


def widths(c) -> list[int]:
    smallest = c.map_size if prime(c) else 4
    stages = int(math.log2(c.image_size // smallest))
    return [min(c.base_channels * 2**i, c.base_channels * 8) for i in range(stages)]


def prime(c) -> bool:
    return isinstance(c, SVGPrimeConfig)


def lrelu_norm(channels, kind):
    norm = nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.Sequential(norm, nn.LeakyReLU(0.2))


class Block(nn.Module):
    """A convolution, and normalisation and activation unless it is the last."""

    def __init__(self, conv, last=False, norm="batch"):
        super().__init__()
        self.conv = conv
        self.norm = nn.Identity() if last else lrelu_norm(conv.out_channels, norm)

    def forward(self, x):
        return self.norm(self.conv(x))


def composes(c) -> bool:
    return prime(c) and c.output == "composed"


def drawn_channels(c) -> int:
    return c.channels + (5 if composes(c) else 0)


def norm_of(c):
    return c.norm if prime(c) else "batch"


def top_of_encoder(c, w):
    if prime(c):
        return nn.Conv2d(w[-1], c.g_dim, 3, 1, 1)
    return nn.Sequential(nn.Conv2d(w[-1], c.g_dim, 4, 1, 0), nn.BatchNorm2d(c.g_dim), nn.Tanh(), nn.Flatten())


def top_of_decoder(c, w):
    if prime(c):
        return Block(nn.Conv2d(c.g_dim, w[-1], 3, 1, 1), last=c.norm == "batch", norm=c.norm)
    return nn.Sequential(nn.Unflatten(1, (c.g_dim, 1, 1)), Block(nn.ConvTranspose2d(c.g_dim, w[-1], 4, 1, 0)))


class DCGANEncoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        w = widths(c)
        self.blocks = nn.ModuleList(
            Block(nn.Conv2d(i, o, 4, 2, 1), norm=norm_of(c)) for i, o in zip([c.channels, *w[:-1]], w, strict=True)
        )
        self.top = top_of_encoder(c, w)

    def forward(self, x):
        skips = []
        for block in self.blocks:
            x = block(x)
            skips.append(x)
        return self.top(x), skips


class DCGANDecoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        w = widths(c)
        self.top = top_of_decoder(c, w)
        outs = [drawn_channels(c), *w[:-1]]
        self.blocks = nn.ModuleList(
            Block(nn.ConvTranspose2d(2 * w[i], outs[i], 4, 2, 1), last=i == 0, norm=norm_of(c))
            for i in range(len(w) - 1, -1, -1)
        )

    def forward(self, g, skips):
        d = self.top(g)
        for block, skip in zip(self.blocks, skips[::-1], strict=True):
            d = block(torch.cat([d, skip], 1))
        return d


class VGGEncoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        w = widths(c)
        ins = [c.channels, *w[:-1]]
        self.stages = nn.ModuleList()
        for i in range(len(w)):
            depth = [2, 2, 3, 3, 3, 3][i]
            blocks = [
                Block(nn.Conv2d(ins[i] if j == 0 else w[i], w[i], 3, 1, 1), norm=norm_of(c)) for j in range(depth)
            ]
            self.stages.append(nn.Sequential(*blocks))
        self.top = top_of_encoder(c, w)

    def forward(self, x):
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
            x = F.max_pool2d(x, 2, 2)
        return self.top(x), skips


class VGGDecoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        w = widths(c)
        self.top = top_of_decoder(c, w)
        self.stages = nn.ModuleList()
        for i in range(len(w) - 1, 0, -1):
            depth = [2, 2, 3, 3, 3, 3][i]
            sizes = [2 * w[i]] + [w[i]] * (depth - 1) + [w[i - 1]]
            self.stages.append(
                nn.Sequential(
                    *[Block(nn.Conv2d(sizes[j], sizes[j + 1], 3, 1, 1), norm=norm_of(c)) for j in range(depth)]
                )
            )
        first, last = nn.Conv2d(2 * w[0], w[0], 3, 1, 1), nn.ConvTranspose2d(w[0], drawn_channels(c), 3, 1, 1)
        self.stages.append(nn.Sequential(Block(first, norm=norm_of(c)), Block(last, last=True)))

    def forward(self, g, skips):
        d = self.top(g)
        for stage, skip in zip(self.stages, skips[::-1], strict=True):
            d = stage(torch.cat([F.interpolate(d, scale_factor=2, mode="nearest"), skip], 1))
        return d


class Cells(nn.Module):
    """Linear embedding, a stack of LSTM cells, and the heads' inputs; `start` gives a fresh zero state."""

    def __init__(self, n_in, hidden, layers):
        super().__init__()
        self.embed = nn.Linear(n_in, hidden)
        self.cells = nn.ModuleList(nn.LSTMCell(hidden, hidden) for _ in range(layers))

    def start(self, rows):
        zeros = self.embed.weight.new_zeros(rows, self.embed.out_features)
        return [(zeros, zeros) for _ in self.cells]

    def step(self, x, state):
        x, new = self.embed(x), []
        for cell, s in zip(self.cells, state, strict=True):
            s = cell(x, s)
            new.append(s)
            x = s[0]
        return x, new


class PredictorCells(Cells):
    def __init__(self, n_in, n_out, hidden, layers):
        super().__init__(n_in, hidden, layers)
        self.head = nn.Linear(hidden, n_out)

    def forward(self, x, state):
        y, state = self.step(x, state)
        return torch.tanh(self.head(y)), state


class GaussianCells(Cells):
    def __init__(self, n_in, z_dim, hidden, layers):
        super().__init__(n_in, hidden, layers)
        self.mean, self.log_var = nn.Linear(hidden, z_dim), nn.Linear(hidden, z_dim)

    def forward(self, x, state):
        y, state = self.step(x, state)
        return self.mean(y), self.log_var(y), state


class ConvCell(nn.Module):
    """A step of a ConvLSTM without peepholes: all gates are one convolution of input and hidden state, joined."""

    def __init__(self, hidden):
        super().__init__()
        self.gates = nn.Conv2d(2 * hidden, 4 * hidden, 3, 1, 1)

    def forward(self, x, state):
        h, c = state
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class ConvCells(nn.Module):
    """As `Cells`, with maps of `size` cells a side."""

    def __init__(self, n_in, hidden, layers, size):
        super().__init__()
        self.embed, self.size = nn.Conv2d(n_in, hidden, 3, 1, 1), size
        self.cells = nn.ModuleList(ConvCell(hidden) for _ in range(layers))

    def start(self, rows):
        zeros = self.embed.weight.new_zeros(rows, self.embed.out_channels, self.size, self.size)
        return [(zeros, zeros) for _ in self.cells]

    step = Cells.step


class ConvPredictorCells(ConvCells):
    def __init__(self, n_in, n_out, hidden, layers, size):
        super().__init__(n_in, hidden, layers, size)
        self.head = nn.Conv2d(hidden, n_out, 3, 1, 1)

    forward = PredictorCells.forward


class ConvGaussianCells(ConvCells):
    """Its latents are of `latent` cells a side, each of which sees the mean of the cells that it covers."""

    def __init__(self, n_in, z_dim, hidden, layers, size, latent):
        super().__init__(n_in, hidden, layers, size)
        self.mean, self.log_var = (nn.Conv2d(hidden, z_dim, 3, 1, 1) for _ in range(2))
        self.latent = latent

    def forward(self, x, state):
        y, state = self.step(x, state)
        y = F.adaptive_avg_pool2d(y, self.latent)
        return self.mean(y), self.log_var(y), state


class OracleSVG(nn.Module):
    """SVG; or SVG′, for a config of that family."""

    def __init__(self, config: SVGConfig | SVGPrimeConfig):
        super().__init__()
        self.config = c = config
        dcgan = c.backbone == "dcgan"
        self.encoder = DCGANEncoder(c) if dcgan else VGGEncoder(c)
        self.decoder = DCGANDecoder(c) if dcgan else VGGDecoder(c)
        z_dim = 0 if c.prior == "none" else c.z_dim
        predictor, gaussian, size, latent = PredictorCells, GaussianCells, (), ()
        known = c.g_dim + c.action_dim + (2 if prime(c) and c.action_dim else 0)
        if prime(c):
            predictor, gaussian, size = ConvPredictorCells, ConvGaussianCells, (c.map_size,)
            latent = (c.map_size, c.latent_size or c.map_size)
        self.predictor = predictor(known + z_dim, c.g_dim, c.rnn_size, c.predictor_layers, *size)
        if c.prior != "none":
            self.posterior = gaussian(known, c.z_dim, c.rnn_size, c.posterior_layers, *latent)
        if c.prior == "learned":
            self.prior = gaussian(known, c.z_dim, c.rnn_size, c.prior_layers, *latent)

    def _start(self, rows):
        c = self.config
        return {
            "predictor": self.predictor.start(rows),
            "posterior": self.posterior.start(rows) if c.prior != "none" else None,
            "prior": self.prior.start(rows) if c.prior == "learned" else None,
        }

    def _skips(self, history, context):
        """The skips of the next frame, given those of all frames before it."""
        rule = self.config.future_skip
        if rule == "mean":
            return [torch.stack(maps).mean(0) for maps in zip(*history, strict=True)]
        if rule == "previous":
            return history[-1]
        frozen = context if rule == "last" else context - 1
        return history[min(len(history), frozen) - 1]

    def _driven(self, h, action):
        """[h, a], a = (action − 20) / 3; of maps every cell has a, and its row and its column from −1 to 1."""
        if action is None:
            return h
        a = (action - 20) / 3
        if prime(self.config):
            n = h.shape[-1]
            places = [[[2 * i / (n - 1) - 1, 2 * j / (n - 1) - 1] for j in range(n)] for i in range(n)]
            places = torch.tensor(places, dtype=h.dtype).permute(2, 0, 1)
            a = torch.cat([a[..., None, None].repeat(1, 1, n, n), places.repeat(len(h), 1, 1, 1)], 1)
        return torch.cat([h, a], 1)

    def _joined(self, h, z):
        """[h, z]; latents of fewer cells are repeated over the cells that they cover."""
        if prime(self.config) and z.shape[1]:
            z = F.interpolate(z, h.shape[-2:], mode="nearest")
        elif prime(self.config):
            return h
        return torch.cat([h, z], 1)

    def _frame(self, g, skips, before, given):
        """The next frame; composed of what is drawn, the frame before, moved, and the last given one, where it is."""
        c, drawn = self.config, self.decoder(g, skips)
        if not composes(c):
            return torch.sigmoid(drawn)
        new, same, back = (drawn[:, c.channels + i].exp() for i in range(3))
        new = new * math.exp(-2.0)
        total = (new + same + back)[:, None]
        colours = torch.sigmoid(drawn[:, : c.channels])
        moved = torch.stack([self._moved(*pair) for pair in zip(before, drawn[:, c.channels + 3 :], strict=True)])
        return new[:, None] / total * colours + same[:, None] / total * moved + back[:, None] / total * given

    def _moved(self, frame, flow):
        """Every pixel of (C, H, W) from where the flow (2, H, W) points, between its four neighbours."""
        h, w = frame.shape[1:]
        y = (torch.arange(h)[:, None] + flow[0] * h / 16).clamp(0, h - 1)
        x = (torch.arange(w) + flow[1] * w / 16).clamp(0, w - 1)
        top, left = y.long().clamp(max=h - 2), x.long().clamp(max=w - 2)
        down, right = y - top, x - left
        above = (1 - right) * frame[:, top, left] + right * frame[:, top, left + 1]
        below = (1 - right) * frame[:, top + 1, left] + right * frame[:, top + 1, left + 1]
        return (1 - down) * above + down * below

    def loss(self, x, noise, feed_back=False, change_weight=0.0, actions=None):
        """x (B, T, C, H, W), noise (B, T − 1, Z…): Σ error + β Σ KL; after the context, its own frames are read."""
        error = F.l1_loss if prime(self.config) and self.config.reconstruction == "l1" else F.mse_loss
        total = 0.0
        for t, (frame, kl) in enumerate(self._observed(x, noise, feed_back, actions), 1):
            total = total + error(frame, x[:, t]) + self.config.beta * kl
            if not change_weight:
                continue
            errors = error(frame, x[:, t], reduction="none")
            for clip, difference in zip(errors, x[:, t] - x[:, t - 1], strict=True):
                for i in range(x.shape[-2]):
                    for j in range(x.shape[-1]):
                        if any(abs(d) > 12.5 / 255 for d in difference[:, i, j].tolist()):
                            total = total + change_weight * clip[:, i, j].sum() / errors.numel()
        return total

    def reconstruct(self, x, noise):
        """The frames that these are taken for, (B, T − 1, C, H, W)."""
        return torch.stack([frame for frame, _ in self._observed(x, noise)], 1)

    def _observed(self, x, noise, feed_back=False, actions=None):
        """Frame and KL of each step; actions (B, T, A), what led to each frame."""
        c = self.config
        s, history, made = self._start(x.shape[0]), [], None
        for t in range(2, x.shape[1] + 1):
            own = feed_back and t - 1 > c.context
            h, skip = self.encoder(made if own else x[:, t - 2])
            history.append(skip)
            action = None if actions is None else actions[:, t - 1]
            h = self._driven(h, action)
            z, kl = noise[:, t - 2, :0], 0.0
            if c.prior != "none":
                h_target = self._driven(self.encoder(x[:, t - 1])[0], action)
                mu, log_var, s["posterior"] = self.posterior(h_target, s["posterior"])
                z = mu + torch.exp(0.5 * log_var) * noise[:, t - 2]
                if c.prior == "learned":
                    mu_p, log_var_p, s["prior"] = self.prior(h, s["prior"])
                else:
                    mu_p, log_var_p = torch.zeros_like(mu), torch.zeros_like(mu)
                sigma1, sigma2 = torch.exp(0.5 * log_var), torch.exp(0.5 * log_var_p)
                kld = torch.log(sigma2 / sigma1) + (sigma1**2 + (mu - mu_p) ** 2) / (2 * sigma2**2) - 0.5
                kl = kld.sum() / x.shape[0]
            g, s["predictor"] = self.predictor(self._joined(h, z), s["predictor"])
            before = made if own else x[:, t - 2]
            made = self._frame(g, self._skips(history, c.context), before, x[:, min(t - 1, c.context) - 1])
            yield made, kl

    def rollout(self, x, horizon, noise, actions=None):
        """x (B, K, C, H, W), noise (B, S, K − 1 + horizon, Z…) → frames (B, S, horizon, C, H, W) and the priors.

        actions (B, S, K + horizon, A): what leads to each frame of each sample, the given ones first.
        """
        own = [None if actions is None else actions[:, i] for i in range(noise.shape[1])]
        futures = [self._one_future(x, horizon, noise[:, i], own[i]) for i in range(noise.shape[1])]
        return tuple(torch.stack(parts, 1) for parts in zip(*futures, strict=True))

    def _one_future(self, x, horizon, noise, actions):
        c, context = self.config, x.shape[1]
        s = self._start(x.shape[0])
        frames, means, stds, history = [], [], [], []
        x_in = x[:, 0]
        for t in range(2, context + horizon + 1):
            h, skip = self.encoder(x_in)
            history.append(skip)
            action = None if actions is None else actions[:, t - 1]
            h = self._driven(h, action)
            eps = noise[:, t - 2]
            z, mu_p, sigma_p = eps, torch.zeros_like(eps), torch.ones_like(eps)
            if c.prior == "learned":
                mu_p, log_var_p, s["prior"] = self.prior(h, s["prior"])
                sigma_p = torch.exp(0.5 * log_var_p)
                z = mu_p + sigma_p * eps
            if t <= context and c.prior != "none":
                h_target = self._driven(self.encoder(x[:, t - 1])[0], action)
                mu, log_var, s["posterior"] = self.posterior(h_target, s["posterior"])
                z = mu if c.context_latent == "mean" else mu + torch.exp(0.5 * log_var) * eps
            g, s["predictor"] = self.predictor(self._joined(h, z), s["predictor"])
            if t <= context:
                x_in = x[:, t - 1]
            else:
                x_in = self._frame(g, self._skips(history, context), x_in, x[:, context - 1])
                frames.append(x_in)
                means.append(mu_p)
                stds.append(sigma_p)
        return torch.stack(frames, 1), torch.stack(means, 1), torch.stack(stds, 1)


# --------------------------------------------------------------------------- the same weights in both formulations


def pairs(model, oracle):
    """Every parameter and buffer of the fast model beside the oracle's: (name, fast, oracle's, slice of the oracle's).

    The slice is None, or says which half of the oracle's joined input channels a split weight is.
    """
    out = []

    def walk(name, fast, plain):
        kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm2d, nn.GroupNorm)
        a = [m for m in fast.modules() if isinstance(m, kinds)]
        b = [m for m in plain.modules() if isinstance(m, kinds)]
        joined = {m.d: m for m in fast.modules() if isinstance(m, JoinedConv)}
        while b:
            y, x = b.pop(0), a.pop(0)
            assert isinstance(x, type(y)), (name, x, y)
            halves = [(x, None)]
            channels = 0 if isinstance(y, nn.ConvTranspose2d) else 1  # the axis of the input channels
            if x.weight.shape != y.weight.shape:
                n = x.weight.shape[channels]
                cut = [slice(None), slice(None)]
                halves = []
                for half, first in ((x, 0), (a.pop(0), n)):
                    cut[channels] = slice(first, first + n)
                    halves.append((half, tuple(cut)))
            for half, cut in halves:
                out.append((f"{name} {half} weight", half.weight, y.weight, cut))
            if y.bias is not None:
                bias = x.bias if x not in joined else joined[x].bias
                out.append((f"{name} {x} bias", bias, y.bias, None))
            if isinstance(y, nn.BatchNorm2d):
                out.append((f"{name} {x} mean", x.running_mean, y.running_mean, None))
                out.append((f"{name} {x} var", x.running_var, y.running_var, None))
        assert not a, (name, a)

    for part in ("encoder", "decoder"):
        walk(part, getattr(model, part), getattr(oracle, part))
    for part in ("predictor", "posterior", "prior"):
        fast = getattr(model, part)
        if fast is None:
            continue
        plain = getattr(oracle, part)
        if prime(oracle.config):
            out += conv_pairs(part, fast, plain)
            continue
        walk(part, fast, plain)
        for i, cell in enumerate(plain.cells):
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                out.append((f"{part} {kind} {i}", getattr(fast.lstm, f"{kind}_l{i}"), getattr(cell, kind), None))
    return out


def conv_pairs(name, fast, plain):
    """As `pairs`, of a recurrent part of SVG′, where every joined convolution is split in two."""
    embed_latent, size = getattr(fast, "embed_latent", None), fast.lstm.size
    halves = [("embed", fast.embed, embed_latent, plain.embed, fast.embed.in_channels)]
    for i, cell in enumerate(plain.cells):
        halves.append((f"cell {i}", fast.lstm.inputs[i], fast.lstm.hidden[i], cell.gates, size))
    out = []
    for what, first, second, joined, n in halves:
        for half, cut in ((first, slice(0, n)), (second, slice(n, None))):
            if half is not None:
                out.append((f"{name} {what} weight", half.weight, joined.weight, (slice(None), cut)))
        out.append((f"{name} {what} bias", first.bias, joined.bias, None))
    for head in ("head", "mean", "log_var"):
        if hasattr(fast, head):
            a, b = getattr(fast, head), getattr(plain, head)
            out += [(f"{name} {head} weight", a.weight, b.weight, None), (f"{name} {head} bias", a.bias, b.bias, None)]
    return out


def copy_weights(model, oracle):
    """Copies all weights of the fast model into the oracle (split convolutions into joined ones)."""
    with torch.no_grad():
        for _, fast, plain, cut in pairs(model, oracle):
            (plain if cut is None else plain[cut]).copy_(fast)
    return oracle


def gradients_equal(model, oracle) -> None:
    """Checks that every parameter of the fast model was reached, and has the gradient that the oracle's has."""
    checked = set()
    for name, fast, plain, cut in pairs(model, oracle):
        if fast.requires_grad:
            wanted = plain.grad if cut is None else plain.grad[cut]
            scale = wanted.abs().max().item()
            torch.testing.assert_close(
                fast.grad, wanted, rtol=1e-6, atol=1e-9 * scale, msg=lambda m, n=name: f"{n}: {m}"
            )
            checked.add(fast)
    assert checked == set(model.parameters())
