"""dlib's face descriptor as a feature extractor: a residual network made to tell people apart.

Own code because dlib's wheel takes 0.1 s an image on one core: with the factors of each affine
layer folded into the convolution before it, PyTorch takes a tenth of that. The weights are read
from dlib's own file; tests/test_evaluate_features.py holds the features to dlib's.

Source: Davis King's dlib_face_recognition_resnet_model_v1 (public domain), a ResNet of 29
convolutions on 3 million faces, trained so that two pictures of one person lie within 0.6.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES, SIZE = 128, 150
DOWN = (0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1)  # the blocks; those with 1 halve the map
MEAN, SCALE = (122.782, 117.001, 104.298), 256.0
# CelebA's pictures, 178 x 218, have the eyes at (69, 111) and (109, 111); dlib's have them a third
# of the width from either side and of the height from the top. The square around the face, by
# `crop`: pixels that the whole picture is resized to, and the square's first row and column.
SQUARES = {"none": ((277, 226), 94, 38), "center": ((226, 226), 69, 38)}


class Descriptor(nn.Module):
    """uint8 (B, 3, R, R), aligned faces as CelebA's, -> float32 (B, 128).

    weights: dlib's file. crop: how the pictures became squares, as in a run's configuration.
    """

    def __init__(self, weights: bytes, crop: str):
        super().__init__()
        self.crop = crop
        *pairs, last = _tensors(weights)
        for i, (convolution, factors) in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
            gain, shift = factors.chunk(2)
            kernel, bias = convolution[: -len(gain)].view(len(gain), -1), convolution[-len(gain) :]
            side = 3 if i else 7
            folded = (kernel * gain[:, None]).view(len(gain), -1, side, side)
            self.register_buffer(f"kernel{i}", folded.to(memory_format=torch.channels_last))
            self.register_buffer(f"bias{i}", bias * gain + shift)
        self.register_buffer("last", last.view(-1, FEATURES))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        size, top, left = SQUARES[self.crop]
        x = F.interpolate(images.float(), size, mode="bicubic", antialias=True)
        x = x[..., top : top + SIZE, left : left + SIZE].round().clamp(0, 255)
        x = ((x - self.mean) / SCALE).contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(self._convolved(x, 0, stride=2).relu(), 3, 2)
        for block, down in enumerate(DOWN):
            y = self._convolved(x, 2 * block + 1, 1 + down, 1 - down).relu()
            y = self._convolved(y, 2 * block + 2, padding=1)
            x = _sum(F.avg_pool2d(x, 2) if down else x, y).relu()
        return x.mean((2, 3)) @ self.last

    def _convolved(self, x: Tensor, i: int, stride: int = 1, padding: int = 0) -> Tensor:
        kernel, bias = getattr(self, f"kernel{i}"), getattr(self, f"bias{i}")
        return F.conv2d(x, kernel, bias, stride, padding)


def _sum(x: Tensor, y: Tensor) -> Tensor:
    """dlib's sum: where one has fewer channels, rows or columns, zeros stand in."""
    shape = [max(sizes) for sizes in zip(x.shape[1:], y.shape[1:], strict=True)]

    def padded(z: Tensor) -> Tensor:
        lack = [n for have, want in zip(z.shape[1:], shape, strict=True) for n in (want - have, 0)]
        return F.pad(z, lack[::-1])

    return padded(x) + padded(y)


def _tensors(content: bytes) -> Iterator[Tensor]:
    """The parameters of every layer, flat, in the file's order: from the image to the features."""
    at, names = 0, (b"\x05con_4", b"\x07affine_", b"\x04fc_2")
    while found := [(i, name) for name in names if (i := content.find(name, at)) >= 0]:
        at, name = min(found)
        at += len(name)
        # of a layer's own numbers only fc's sizes come first; then the tensor's version and sizes
        for _ in range(2 if name == names[2] else 0):
            _, at = _integer(content, at)
        sizes = []
        for _ in range(5):
            size, at = _integer(content, at)
            sizes.append(size)
        n = int(np.prod(sizes[1:]))
        yield torch.from_numpy(np.frombuffer(content, "<f4", n, at).copy())
        at += 4 * n


def _integer(content: bytes, at: int) -> tuple[int, int]:
    """dlib's integer, a byte that says how many follow, and where the next thing begins."""
    end = at + 1 + content[at]
    return int.from_bytes(content[at + 1 : end], "little"), end
