"""The ConvLSTM of Shi et al. (2015), frame by frame and as its equations read, with the weights of a model."""

import torch
from torch import nn
from torch.nn import functional as F


class OracleLayer(nn.Module):
    """Equation 3, with one peephole for each channel; input and hidden state are convolved together."""

    def __init__(self, layer):
        super().__init__()
        known = [layer.hidden.weight] if layer.input is None else [layer.input.weight, layer.hidden.weight]
        self.weight = nn.Parameter(torch.cat(known, 1).detach().clone())
        self.bias = nn.Parameter((layer.hidden if layer.input is None else layer.input).bias.detach().clone())
        self.peepholes = nn.Parameter(layer.peepholes.detach().clone())

    def forward(self, x, state):
        hidden, cell = state
        joined = hidden if x is None else torch.cat([x, hidden], 1)
        i, f, g, o = F.conv2d(joined, self.weight, self.bias, padding=self.weight.shape[-1] // 2).chunk(4, 1)
        w_ci, w_cf, w_co = self.peepholes
        i, f = torch.sigmoid(i + w_ci * cell), torch.sigmoid(f + w_cf * cell)
        cell = f * cell + i * torch.tanh(g)
        o = torch.sigmoid(o + w_co * cell)
        hidden = o * torch.tanh(cell)
        return hidden, (hidden, cell)


class OracleConvLSTM(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.config = model.config
        self.encoder = nn.ModuleList(map(OracleLayer, model.encoder))
        self.forecaster = nn.ModuleList(map(OracleLayer, model.forecaster))
        self.weight, self.bias = (nn.Parameter(p.detach().clone()) for p in (model.head.weight, model.head.bias))

    def to_cells(self, frame):
        """(B, C, H, W) → (B, C p², H/p, W/p): the pixels of a patch become channels, row by row, channel by channel."""
        b, c, h, w = frame.shape
        p = self.config.patch
        return frame.reshape(b, c, h // p, p, w // p, p).permute(0, 1, 3, 5, 2, 4).reshape(b, c * p * p, h // p, w // p)

    def to_frame(self, cells):
        b, _, h, w = cells.shape
        p, c = self.config.patch, self.config.channels
        return cells.reshape(b, c, p, p, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c, h * p, w * p)

    def encoded(self, frames):
        size = (len(frames), self.config.image_size // self.config.patch, self.config.image_size // self.config.patch)
        states = [(z, z) for z in (frames.new_zeros(size[0], width, *size[1:]) for width in self.config.widths)]
        for t in range(frames.shape[1]):
            x = self.to_cells(frames[:, t])
            for n, layer in enumerate(self.encoder):
                x, states[n] = layer(x, states[n])
        return states

    def forecast(self, states, horizon):
        """Logits of the frames after, (B, horizon, C, H, W)."""
        states, logits = list(states), []
        for _ in range(horizon):
            x, hidden = None, []
            for n, layer in enumerate(self.forecaster):
                x, states[n] = layer(x, states[n])
                hidden.append(x)
            logits.append(self.to_frame(F.conv2d(torch.cat(hidden, 1), self.weight, self.bias)))
        return torch.stack(logits, 1)

    def rollout(self, context, horizon, noise=None):
        """Frames (B, S, horizon, C, H, W), of as many samples as the noise has, all of them alike; and nothing else."""
        frames = torch.sigmoid(self.forecast(self.encoded(context), horizon))
        return (frames[:, None].expand(-1, 1 if noise is None else noise.shape[1], *frames.shape[1:]),)

    def error(self, clips, change_weight=0.0):
        known = self.config.context
        p, x = torch.sigmoid(self.forecast(self.encoded(clips[:, :known]), clips.shape[1] - known)), clips[:, known:]
        errors = -(x * p.log() + (1 - x) * (1 - p).log()) if self.config.reconstruction == "bce" else (p - x) ** 2
        moved = (x - clips[:, known - 1 : -1]).abs().amax(2, keepdim=True) > 12.5 / 255
        return (errors * (1 + change_weight * moved)).mean()

    def loss(self, clips, noise=None):
        """What training minimises: the error of a frame, as often as a clip has steps."""
        return (clips.shape[1] - 1) * self.error(clips)


def pairs(model, oracle):
    """Every parameter: its name, that of the model, that of the oracle, and which of its input channels (None: all)."""
    for part in ("encoder", "forecaster"):
        for n, (layer, plain) in enumerate(zip(getattr(model, part), getattr(oracle, part), strict=True)):
            inputs = plain.weight.shape[1] - layer.hidden.weight.shape[1]
            yield f"{part}.{n}.hidden", layer.hidden.weight, plain.weight, slice(inputs, None)
            biased = layer.hidden
            if layer.input is not None:
                biased = layer.input
                yield f"{part}.{n}.input", layer.input.weight, plain.weight, slice(inputs)
            yield f"{part}.{n}.bias", biased.bias, plain.bias, None
            yield f"{part}.{n}.peepholes", layer.peepholes, plain.peepholes, None
    yield "head.weight", model.head.weight, oracle.weight, None
    yield "head.bias", model.head.bias, oracle.bias, None
