"""Times the image tower of CLIP ViT-B/16 in PyTorch on the CPU: the peer of trainer/examples/tower.rs.

Usage: tower.py ITERATIONS WARM_UP THREADS; prints times in ms as JSON. Needs only torch (`pip install torch`).
The same work: batch 1, 224 px, 197 tokens, 12 blocks of 768 with 12 heads, QuickGELU, projection to 512, f32,
random weights, fused attention, inference mode.
"""

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS, BLOCKS, PATCH, SIDE, JOINT = 768, 12, 12, 16, 224, 512


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, tokens, WIDTH))
        wide = self.wide(self.norm2(x))
        return x + self.narrow(F.silu(1.702 * wide) / 1.702)  # QuickGELU, written for the fused SiLU


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.first = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + 1, WIDTH))
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(BLOCKS)])
        self.projection = nn.Linear(WIDTH, JOINT, bias=False)

    def forward(self, pixels):
        patches = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(pixels), -1, -1), patches], 1) + self.positions
        return self.projection(self.norm2(self.blocks(self.norm1(x))[:, 0]))


def main():
    iterations, warm_up, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    tower, pixels = Tower().eval(), torch.randn(1, 3, SIDE, SIDE)
    times = []
    with torch.inference_mode():
        for run in range(warm_up + iterations):
            begun = time.perf_counter()
            tower(pixels)
            if run >= warm_up:
                times.append((time.perf_counter() - begun) * 1e3)
    print(json.dumps({"times": times}))


main()
