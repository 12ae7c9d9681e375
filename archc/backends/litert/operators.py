"""TFLite's operators: the options and versions of those that archc writes."""

from __future__ import annotations

from collections.abc import Mapping

OPTIONS = {
    "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "FULLY_CONNECTED": "FullyConnected",
    "MAX_POOL_2D": "Pool2D",
    "AVERAGE_POOL_2D": "Pool2D",
    "ADD": "Add",
    "SUB": "Sub",
    "MUL": "Mul",
    "DIV": "Div",
    "CONCATENATION": "Concatenation",
    "RESIZE_BILINEAR": "ResizeBilinear",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor",
    "RESHAPE": "Reshape",
    "SHAPE": "Shape",
    "SLICE": "Slice",
    "MEAN": "Reducer",
    "TRANSPOSE": "Transpose",
    "PAD": "Pad",
    "PADV2": "PadV2",
    "SOFTMAX": "Softmax",
    "BATCH_MATMUL": "BatchMatMul",
    "SPLIT": "Split",
    "GATHER": "Gather",
    "CAST": "Cast",
    "QUANTIZE": "Quantize",
    "DEQUANTIZE": "Dequantize",
    "HARD_SWISH": "HardSwish",
    "GELU": "Gelu",
    "LEAKY_RELU": "LeakyRelu",
    "SPACE_TO_DEPTH": "SpaceToDepth",
    "DEPTH_TO_SPACE": "DepthToSpace",
    "SQUARED_DIFFERENCE": "SquaredDifference",
    "MINIMUM": "MaximumMinimum",
    "EXP": "Exp",
}
"""The class of an operator's options, for those that have some."""

VERSIONS: Mapping[str, tuple[int, int]] = {
    "CONV_2D": (1, 3),
    "DEPTHWISE_CONV_2D": (2, 3),
    "FULLY_CONNECTED": (5, 5),
    "MAX_POOL_2D": (1, 2),
    "AVERAGE_POOL_2D": (1, 2),
    "ADD": (1, 2),
    "SUB": (1, 2),
    "MUL": (1, 2),
    "CONCATENATION": (1, 2),
    "RESIZE_BILINEAR": (3, 3),
    "RESIZE_NEAREST_NEIGHBOR": (1, 2),
    "MEAN": (1, 2),
    "TRANSPOSE": (4, 4),
    "PAD": (1, 2),
    "PADV2": (1, 2),
    "SOFTMAX": (1, 2),
    "BATCH_MATMUL": (1, 2),
    "SPLIT": (1, 2),
    "GATHER": (1, 2),
    "DEQUANTIZE": (3, 2),
    "LOGISTIC": (1, 2),
    "TANH": (1, 2),
    "RELU": (1, 2),
    "RELU6": (1, 2),
    "LEAKY_RELU": (1, 2),
    "SPACE_TO_DEPTH": (1, 2),
    "MINIMUM": (1, 2),
}
"""The version of an operator that first does what archc asks of it: in float, and in int8. All others: 1."""

ACTIVATIONS = {"": 0, "relu": 1, "relu6": 3}
"""The activations that an operator may apply to its result, by their number in the schema."""
