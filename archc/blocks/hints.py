"""What to write instead of names that people expect to be blocks."""

from __future__ import annotations

_SQUEEZE = "squeeze-and-excitation is a column of `inverted_residual` and `bottleneck`: `se: true`, or a ratio"
_ATTENTION = "self-attention is part of `mobilevit`; for another kind, write a block of your own (`archc.Block`)"
_NORM = "normalisation is part of a `conv` and of the blocks; the spec's `norm`, or a row's own, says which"
_LAYER_NORM = "layer normalisation is part of `mobilevit`; elsewhere, write a block of your own (`archc.Block`)"
_ACT = "an activation is a column: `{block: conv, …, act: relu}`, and `act` of the spec is the default"
_POOL = "windows are pooled by `{block: pool, kind: %s, kernel: 2, stride: 2}`"
_RESIZE = "an image is resized to the size of another: `{block: resize, to: c3}`"
_RESIDUAL = "a block's own shortcut is its column `residual`; `{block: add, from: [a, b]}` adds any two rows"
_DEPTHWISE = "write `{block: conv, kernel: 3, groups: depthwise, …}`"
_LINEAR = "write `{block: linear, out: …}`"
_FLATTEN = "a `linear` row flattens its input by itself"

HINTS: dict[str, str] = {
    **dict.fromkeys(("se", "squeeze", "squeeze_excite", "squeeze_excitation"), _SQUEEZE),
    **dict.fromkeys(("attention", "self_attention", "mhsa", "mha", "transformer", "vit"), _ATTENTION),
    **dict.fromkeys(("layer_norm", "layernorm", "ln"), _LAYER_NORM),
    **dict.fromkeys(("batch_norm", "batchnorm", "bn", "norm"), _NORM),
    **dict.fromkeys(("relu", "relu6", "hardswish", "silu", "swish", "gelu", "sigmoid", "act", "activation"), _ACT),
    **dict.fromkeys(("max_pool", "maxpool"), _POOL % "max"),
    **dict.fromkeys(("avg_pool", "avgpool", "average_pool"), _POOL % "avg"),
    **dict.fromkeys(("gap", "global_pool", "global_avg_pool"), "write `{block: pool}`, which is global by default"),
    **dict.fromkeys(("upsample", "interpolate"), _RESIZE),
    **dict.fromkeys(("residual", "skip", "shortcut"), _RESIDUAL),
    **dict.fromkeys(("depthwise", "depthwise_conv", "dwconv"), _DEPTHWISE),
    **dict.fromkeys(("fc", "dense"), _LINEAR),
    "flatten": _FLATTEN,
}
