"""The network: eight images and the other senses in, a bird's-eye view, boxes, futures and plans out.

One static graph. Images pass a shared dense-convolution backbone; the calibration table gathers one feature
per BEV cell and height (a look-up of almost no cost); radar joins as a raster; in a small transformer BEV,
camera, radar, ultrasonic, ego and memory tokens attend to each other; dense heads read boxes off the BEV
grid. Object queries start from the heat map's peaks, because a detector that must first learn where to look
cannot do so in the minutes of training that a fine-tune gets.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge.contracts.classes import SHIPPED_CLASSES, Category
from edge.perceive.tensors import (
    BOX_CHANNELS,
    EGO_WIDTH,
    FUTURE_STEPS,
    MEMORY_POSE_WIDTH,
    MODES,
    RADAR_CHANNELS,
    RADAR_TOKEN_WIDTH,
    SEGMENTATION_CLASSES,
    ULTRASONIC_TOKEN_WIDTH,
    NetSpec,
)

Outputs = dict[str, Tensor]

HEADS = (
    "heatmap", "boxes", "segmentation", "query_token", "query_place", "query_layers", "futures",
    "plan_embedding", "plan_layer", "plans",
)  # fmt: skip
"""Parts of ``BevNet`` with one output each; all other parts are shared by all of them."""


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU: folds into one int8 operator on the vehicle."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_bn_relu(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return F.relu(x + self.second(self.first(x)))


class Attention(nn.Module):
    """Multi-head attention written out with static shapes, so that every exporter agrees on it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Attend from (B, N, d) to (B, M, d)."""
        b, n, d = queries.shape
        m = context.shape[1]
        q = self.query(queries).reshape(b, n, self.heads, self.head_width).transpose(1, 2)
        k = self.key(context).reshape(b, m, self.heads, self.head_width).transpose(1, 2)
        v = self.value(context).reshape(b, m, self.heads, self.head_width).transpose(1, 2)
        weights = torch.softmax(
            torch.matmul(q, k.transpose(-2, -1)) * self.head_width**-0.5, dim=-1
        )
        mixed: Tensor = self.out(torch.matmul(weights, v).transpose(1, 2).reshape(b, n, d))
        return mixed


class CrossLayer(nn.Module):
    """Pre-norm cross-attention and a two-layer perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm_in, self.norm_mid = nn.LayerNorm(width), nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Refine (B, N, d) by attention to (B, M, d)."""
        queries = queries + self.attention(self.norm_in(queries), context)
        refined: Tensor = queries + self.perceptron(self.norm_mid(queries))
        return refined


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Two linear layers with a ReLU between them."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))


class Backbone(nn.Module):
    """Shared image encoder: strides 2 to 32, then a feature pyramid down to stride 4."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        c2, c4, c8, c16, c32 = spec.backbone
        n8, n16, n32 = spec.blocks
        self.stem = conv_bn_relu(3, c2, 3, 2)
        self.down4 = nn.Sequential(conv_bn_relu(c2, c4, 3, 2))
        self.down8 = nn.Sequential(conv_bn_relu(c4, c8, 3, 2), *(Residual(c8) for _ in range(n8)))
        self.down16 = nn.Sequential(
            conv_bn_relu(c8, c16, 3, 2), *(Residual(c16) for _ in range(n16))
        )
        self.down32 = nn.Sequential(
            conv_bn_relu(c16, c32, 3, 2), *(Residual(c32) for _ in range(n32))
        )
        self.lateral = nn.ModuleList(conv_bn_relu(c, spec.channels, 1) for c in (c4, c8, c16, c32))
        self.smooth = conv_bn_relu(spec.channels, spec.channels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode (B*8, 3, h, w) into stride-4 features (B*8, C, h/4, w/4) and stride-32 features."""
        f4 = self.down4(self.stem(images))
        f8 = self.down8(f4)
        f16 = self.down16(f8)
        f32 = self.down32(f16)
        pyramid = self.lateral[3](f32)
        for lateral, features in zip(self.lateral[2::-1], (f16, f8, f4), strict=True):
            pyramid = lateral(features) + F.interpolate(pyramid, scale_factor=2.0, mode="nearest")
        return self.smooth(pyramid), f32


RARE_LOGIT = -3.5
"""Bias of a class that starts anew: a cell is rarely an object's centre."""


class BevNet(nn.Module):
    """The whole graph; see ``edge.perceive.tensors`` for the meaning of every input and output."""

    cell_xy: Tensor

    def __init__(self, spec: NetSpec, categories: tuple[Category, ...] = SHIPPED_CLASSES) -> None:
        """Draw a network.

        Args:
            spec: Its sizes.
            categories: The class of each channel of its heat map.
        """
        super().__init__()
        self.spec, self.categories = spec, categories
        n, c, d = spec.bev_cells, spec.channels, spec.width
        self.backbone = Backbone(spec)
        gathered = c * len(spec.heights_m) + spec.geometry_channels + RADAR_CHANNELS
        self.squeeze = conv_bn_relu(gathered, c, 1)
        self.bev_1 = Residual(c)
        self.bev_2 = nn.Sequential(conv_bn_relu(c, d, 3, 2), Residual(d))
        self.bev_4 = conv_bn_relu(d, d, 3, 2)
        self.unsqueeze = conv_bn_relu(d, c, 1)
        self.merge = conv_bn_relu(2 * c, c)

        camera_tokens = 8 * (spec.image_height_px // 32) * (spec.image_width_px // 32)
        self.camera_token = nn.Conv2d(spec.backbone[4], d, 1)
        self.camera_place = nn.Parameter(torch.randn(1, camera_tokens, d) * 0.02)
        self.bev_place = nn.Parameter(torch.randn(1, (n // 4) ** 2, d) * 0.02)
        self.radar_token = perceptron(RADAR_TOKEN_WIDTH, d, d)
        self.ultrasonic_token = perceptron(ULTRASONIC_TOKEN_WIDTH, d, d)
        self.ego_token = perceptron(EGO_WIDTH, d, d)
        self.memory_token = perceptron(d + MEMORY_POSE_WIDTH, d, d)
        self.fusion = nn.ModuleList(CrossLayer(d, spec.heads) for _ in range(spec.fusion_layers))

        self.heatmap = nn.Sequential(conv_bn_relu(c, c), nn.Conv2d(c, len(categories), 1))
        self.boxes = nn.Sequential(conv_bn_relu(c, c), nn.Conv2d(c, BOX_CHANNELS, 1))
        self.segmentation = nn.Conv2d(c, SEGMENTATION_CLASSES, 1)
        heat_out = self.heatmap[1]
        assert isinstance(heat_out, nn.Conv2d) and heat_out.bias is not None
        nn.init.constant_(heat_out.bias, RARE_LOGIT)

        self.query_token = nn.Linear(c, d)
        self.query_place = nn.Linear(2, d)
        self.query_layers = nn.ModuleList(
            CrossLayer(d, spec.heads) for _ in range(spec.query_layers)
        )
        self.futures = perceptron(d, d, MODES * FUTURE_STEPS * 2 + MODES)
        self.plan_embedding = nn.Parameter(torch.randn(1, spec.plan_count, d) * 0.1)
        self.plan_layer = CrossLayer(d, spec.heads)
        self.plans = perceptron(d, d, spec.plan_steps * 3 + 1)
        self.register_buffer("cell_xy", _cell_xy(spec), persistent=False)

    def forward(
        self,
        images: Tensor,
        table: Tensor,
        geometry: Tensor,
        radar: Tensor,
        radar_tokens: Tensor,
        ultrasonics: Tensor,
        ego: Tensor,
        memory: Tensor,
        memory_pose: Tensor,
    ) -> Outputs:
        """Run the network on a batch; scores come out as logits.

        Args:
            images: uint8 or float in 0..255, (B * 8, 3, h, w).
            table: Feature index per BEV cell and height, (B, Z * n * n).
            geometry: (B, 4Z + 3, n, n).
            radar: (B, RADAR_CHANNELS, n, n).
            radar_tokens: (B, RADAR_TOKENS, 7).
            ultrasonics: (B, 12, 4).
            ego: (B, 1, EGO_WIDTH).
            memory: Queries of about 0.25 s ago, (B, K, d).
            memory_pose: Where they are now, (B, K, 6).
        """
        batch = geometry.shape[0]
        pixels = (images.float() * (1.0 / 255.0)).contiguous(memory_format=torch.channels_last)
        features, f32 = self.backbone(pixels)
        bev = self.bev_1(self.squeeze(self._lift(features, table, geometry, radar, batch)))
        senses = torch.cat(
            [
                self.radar_token(radar_tokens),
                self.ultrasonic_token(ultrasonics),
                self.ego_token(ego),
                self.memory_token(torch.cat([memory, memory_pose], dim=-1)),
            ],
            dim=1,
        )
        bev, tokens = self._fuse(bev, f32, senses, batch)
        outputs: Outputs = {
            "heatmap": self.heatmap(bev),
            "boxes": self.boxes(bev),
            "segmentation": self.segmentation(bev),
        }
        return outputs | self._decode(bev, tokens, senses, outputs["heatmap"], batch)

    def _lift(
        self, features: Tensor, table: Tensor, geometry: Tensor, radar: Tensor, batch: int
    ) -> Tensor:
        """Gather image features into the BEV grid through the calibration table."""
        n, c, z = self.spec.bev_cells, self.spec.channels, len(self.spec.heights_m)
        rows = self.spec.zero_row + 1
        flat = features.permute(0, 2, 3, 1).reshape(batch, rows - 1, c)
        flat = torch.cat([flat, flat.new_zeros(batch, 1, c)], dim=1).reshape(batch * rows, c)
        if batch > 1:
            table = table + rows * torch.arange(batch, device=table.device)[:, None]
        gathered = torch.index_select(flat, 0, table.reshape(-1).to(torch.int64))
        lifted = (
            gathered.reshape(batch, z, n, n, c).permute(0, 1, 4, 2, 3).reshape(batch, z * c, n, n)
        )
        return torch.cat([lifted, geometry.to(lifted.dtype), radar.to(lifted.dtype)], dim=1)

    def _fuse(self, bev: Tensor, f32: Tensor, senses: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Refine coarse BEV tokens by cameras and other sensors, and merge the result back: (B, C, n, n)."""
        n, d = self.spec.bev_cells, self.spec.width
        half = self.bev_2(bev)
        quarter = self.bev_4(half)
        camera = self.camera_token(f32).flatten(2).permute(0, 2, 1).reshape(batch, -1, d)
        context = torch.cat([camera + self.camera_place, senses], dim=1)
        tokens = quarter.flatten(2).permute(0, 2, 1) + self.bev_place
        for layer in self.fusion:
            tokens = layer(tokens, context)
        quarter = tokens.permute(0, 2, 1).reshape(batch, d, n // 4, n // 4)
        half = half + F.interpolate(quarter, scale_factor=2.0, mode="nearest")
        up = F.interpolate(self.unsqueeze(half), scale_factor=2.0, mode="nearest")
        return self.merge(torch.cat([bev, up], dim=1)), tokens

    def _decode(
        self, bev: Tensor, tokens: Tensor, senses: Tensor, heatmap: Tensor, batch: int
    ) -> Outputs:
        """Start one query at each peak of the heat map; predict futures and the ego's own plans."""
        n, k = self.spec.bev_cells, self.spec.queries
        peak = heatmap.detach().float().amax(dim=1, keepdim=True)
        is_peak = (F.max_pool2d(peak, 3, 1, 1) <= peak).to(peak.dtype)
        scores, cells = torch.topk((torch.sigmoid(peak) * is_peak).reshape(batch, n * n), k, dim=1)
        flat = bev.permute(0, 2, 3, 1).reshape(batch * n * n, -1)
        offset = n * n * torch.arange(batch, device=cells.device)[:, None] if batch > 1 else 0
        picked = (cells + offset).reshape(-1)
        place = torch.index_select(self.cell_xy, 0, cells.reshape(-1)).reshape(batch, k, 2)
        queries = torch.index_select(flat, 0, picked).reshape(batch, k, -1)
        queries = self.query_token(queries) + self.query_place(place)
        for layer in self.query_layers:
            queries = layer(queries, torch.cat([queries, tokens, senses], dim=1))
        futures = self.futures(queries).float()
        split = MODES * FUTURE_STEPS * 2
        plans = self.plan_layer(
            self.plan_embedding.expand(batch, -1, -1), torch.cat([queries, tokens, senses], dim=1)
        )
        plans = self.plans(plans).float()
        steps = plans[..., :-1].reshape(batch, self.spec.plan_count, self.spec.plan_steps, 3)
        return {
            "queries": queries,
            "query_cells": cells,
            "query_scores": scores,
            "futures": futures[..., :split].reshape(batch, k, MODES, FUTURE_STEPS, 2).cumsum(dim=3),
            "future_scores": futures[..., split:],
            "plans": steps.cumsum(dim=2),
            "plan_scores": plans[..., -1],
        }


def _cell_xy(spec: NetSpec) -> Tensor:
    """Centre of every cell, scaled to [-1, 1]: (n * n, 2)."""
    centres = (torch.arange(spec.bev_cells, dtype=torch.float32) + 0.5) * 2 / spec.bev_cells - 1
    x, y = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


class Deployed(nn.Module):
    """The network as it ships: batch of one, scores in [0, 1], outputs in the order of the contract."""

    def __init__(self, net: BevNet) -> None:
        super().__init__()
        self.net = net

    def forward(
        self,
        images: Tensor,
        table: Tensor,
        geometry: Tensor,
        radar: Tensor,
        radar_tokens: Tensor,
        ultrasonics: Tensor,
        ego: Tensor,
        memory: Tensor,
        memory_pose: Tensor,
    ) -> tuple[Tensor, ...]:
        """Take the tensors of ``input_specs`` and give those of ``output_specs``."""
        senses = (radar, radar_tokens, ultrasonics, ego, memory, memory_pose)
        out = self.net(images, table[None], geometry, *senses)
        return (
            torch.sigmoid(out["heatmap"]),
            out["boxes"],
            out["segmentation"],
            out["queries"],
            out["query_cells"].to(torch.float32),
            out["query_scores"],
            out["futures"],
            torch.softmax(out["future_scores"], dim=-1),
            out["plans"],
            torch.softmax(out["plan_scores"], dim=-1),
        )
