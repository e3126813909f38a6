"""Oracles that share no code with the verifier: an LP-based region walk, dense grids, autograd."""

from collections import deque

import numpy as np
import torch
from scipy.optimize import linprog
from torch import nn


def dense_layers(network):
    """(W, b) of a Sequential of Flatten, Linear and ReLU."""
    return [
        (m.weight.detach().double().numpy(), m.bias.detach().double().numpy())
        for m in network
        if isinstance(m, nn.Linear)
    ]


def affine_forms(layers, image_forms, pattern):
    """Pre-activations of all hidden neurons and the logits, affine in theta, under a fixed pattern."""
    forms, hidden, used = image_forms, [], 0
    for weight, bias in layers[:-1]:
        forms = weight @ forms
        forms[:, 0] += bias
        hidden.append(forms.copy())
        active = np.array(pattern[used : used + len(bias)])
        used += len(bias)
        forms = forms * active[:, None]
    weight, bias = layers[-1]
    logits = weight @ forms
    logits[:, 0] += bias
    return np.concatenate(hidden), logits


def pattern_at(layers, image_forms, theta):
    """The activation pattern at one theta, by a plain forward pass."""
    values, pattern = image_forms @ np.concatenate([[1.0], theta]), []
    for weight, bias in layers[:-1]:
        values = weight @ values + bias
        pattern += list(values > 0)
        values = np.maximum(values, 0)
    return tuple(bool(on) for on in pattern)


def inscribed_radius(forms, pattern, lower, upper):
    """Radius of the largest ball inside the region of a pattern (a Chebyshev centre, one LP)."""
    signs = np.where(np.array(pattern), 1.0, -1.0)
    slopes = -signs[:, None] * forms[:, 1:]
    dimension = len(lower)
    rows = [slopes, -np.eye(dimension), np.eye(dimension)]
    limits = np.concatenate([signs * forms[:, 0], -lower, upper])
    matrix = np.concatenate(rows)
    matrix = np.concatenate([matrix, np.linalg.norm(matrix, axis=1, keepdims=True)], 1)
    cost = np.zeros(dimension + 1)
    cost[-1] = -1
    solved = linprog(cost, A_ub=matrix, b_ub=limits, bounds=[(None, None)] * dimension + [(0, None)])
    return solved.x[-1] if solved.status == 0 else -1.0


def walk_regions(network, image_forms, lower, upper, smallest=1e-10):
    """All activation patterns with a non-empty interior in a box, walking from neighbour to neighbour."""
    layers = dense_layers(network)
    start = pattern_at(
        layers, image_forms, lower + (upper - lower) * np.array([0.3183, 0.2718, 0.4142])[: len(lower)]
    )
    found, queue, tried = {start}, deque([start]), {start}
    while queue:
        pattern = queue.popleft()
        for i in range(len(pattern)):
            neighbour = (*pattern[:i], not pattern[i], *pattern[i + 1 :])
            if neighbour in tried:
                continue
            tried.add(neighbour)
            forms, _ = affine_forms(layers, image_forms.copy(), neighbour)
            if inscribed_radius(forms, neighbour, lower, upper) > smallest:
                found.add(neighbour)
                queue.append(neighbour)
    return found


def autograd_ai(network, theta_space, image, theta, labels):
    """ai at one theta straight from its definition."""

    def maps(pixels):
        pixels = pixels.detach().requires_grad_()
        logits = network(pixels[None])[0]
        return torch.stack([torch.autograd.grad(logits[j], pixels, retain_graph=True)[0] for j in labels])

    difference = maps(theta_space.apply(image, theta)) - theta_space.expected(maps(image), theta)
    return float(difference.flatten(1).norm(dim=1).sum())


def grid(theta_space, side):
    """`(side^d, d)` points strictly inside the range."""
    axes = [
        torch.linspace(float(a), float(b), side + 2, dtype=torch.float64)[1:-1]
        for a, b in zip(theta_space.lower, theta_space.upper, strict=True)
    ]
    return torch.cartesian_prod(*axes).reshape(-1, len(axes))
