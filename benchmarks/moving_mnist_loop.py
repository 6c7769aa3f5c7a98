"""Stochastic Moving MNIST in the plainest way: clip by clip, digit by digit, frame by frame.

Written from the rules of DESIGN section 4 alone. It is the oracle of the generator's tests and the baseline of its
benchmark. Random numbers come from `draw(low, high)`, both ends included, in the published order.
"""

import numpy as np


def svg2018_positions(start, velocity, draw, length, room, deterministic):
    """Positions [(y, x)] of one digit, and in which frames a new velocity first counts."""
    (y, x), (vy, vx) = start, velocity
    positions, bounces, pending = [], [], False
    for _ in range(length):
        bounces.append(pending)
        pending = False
        if y < 0:
            y, pending = 0, True
            if deterministic:
                vy = -vy
            else:
                vy, vx = draw(1, 4), draw(-4, 4)
        elif y >= room:
            y, pending = room - 1, True
            if deterministic:
                vy = -vy
            else:
                vy, vx = draw(-4, -1), draw(-4, 4)
        if x < 0:
            x, pending = 0, True
            if deterministic:
                vx = -vx
            else:
                vx, vy = draw(1, 4), draw(-4, 4)
        elif x >= room:
            x, pending = room - 1, True
            if deterministic:
                vx = -vx
            else:
                vx, vy = draw(-4, -1), draw(-4, 4)
        positions.append((y, x))
        y, x = y + vy, x + vx
    return positions, bounces


def srvp2020_positions(start, velocity, draw, length, room, deterministic):
    """Positions [(x, y)], x indexing rows, of one digit, and in which frames a new velocity first counts."""
    (x, y), (vx, vy) = map(float, start), map(float, velocity)
    eps = 1e-8
    positions, bounces = [], []
    for _ in range(length):
        bounced = False
        while x < -eps or x > room + eps or y < -eps or y > room + eps:
            x_low, x_high, y_low, y_high = x < -eps, x > room + eps, y < -eps, y > room + eps
            if vx == 0:
                cx, cy = x, (0.0 if y_low else float(room))
            elif vy == 0:
                cx, cy = (0.0 if x_low else float(room)), y
            else:
                slope = vy / vx
                intercept = y - slope * x
                if x_low:
                    at = intercept
                    x_low = -eps <= at <= room + eps
                    if x_low:
                        cx, cy = 0.0, at
                if x_high:
                    at = slope * room + intercept
                    x_high = -eps <= at <= room + eps
                    if x_high:
                        cx, cy = float(room), at
                if y_low:
                    at = -intercept / slope
                    y_low = -eps <= at <= room + eps
                    if y_low:
                        cx, cy = at, 0.0
                if y_high:
                    at = (room - intercept) / slope
                    y_high = -eps <= at <= room + eps
                    if y_high:
                        cx, cy = at, float(room)
            p = (x - cx) / vx if vx != 0 else (y - cy) / vy
            if not deterministic:
                vx, vy = float(draw(-4, 4)), float(draw(-4, 4))
            if x_low:
                vx = abs(vx)
            if x_high:
                vx = -abs(vx)
            if y_low:
                vy = abs(vy)
            if y_high:
                vy = -abs(vy)
            x, y = cx + p * vx, cy + p * vy
            bounced = True
        positions.append((round(x), round(y)))
        bounces.append(bounced)
        x, y = x + vx, y + vy
    return positions, bounces


POSITIONS = {"svg2018": svg2018_positions, "srvp2020": srvp2020_positions}


def draw_clip(digits, trajectories, image_size):
    """Adds digits (d, d), uint8, to the frames of one clip, clipped at 255: (T, H, W) uint8."""
    side = digits[0].shape[0]
    clip = np.zeros((len(trajectories[0]), image_size, image_size), dtype=np.uint8)
    for digit, positions in zip(digits, trajectories, strict=True):
        for frame, (row, column) in zip(clip, positions, strict=True):
            patch = frame[row : row + side, column : column + side]
            patch[:] = np.minimum(patch.astype(int) + digit, 255)
    return clip


def published_clip(digits, random, length=15, image_size=64, num_digits=2):
    """One clip as the 2018 generator makes it: float32 in [0, 1], a draw per number, digits (N, d, d) float32."""
    side = digits.shape[-1]
    room = image_size - side
    clip = np.zeros((length, image_size, image_size, 1), dtype=np.float32)
    for _ in range(num_digits):
        digit = digits[random.randint(len(digits))]
        x, y = random.randint(room), random.randint(room)
        vx, vy = random.randint(-4, 5), random.randint(-4, 5)
        for t in range(length):
            if y < 0:
                y, vy, vx = 0, random.randint(1, 5), random.randint(-4, 5)
            elif y >= room:
                y, vy, vx = room - 1, random.randint(-4, 0), random.randint(-4, 5)
            if x < 0:
                x, vx, vy = 0, random.randint(1, 5), random.randint(-4, 5)
            elif x >= room:
                x, vx, vy = room - 1, random.randint(-4, 0), random.randint(-4, 5)
            clip[t, y : y + side, x : x + side, 0] += digit
            y, x = y + vy, x + vx
    clip[clip > 1] = 1.0
    return clip
