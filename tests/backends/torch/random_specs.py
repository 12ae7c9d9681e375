"""Random valid specs, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

ACTIVATIONS = ["relu", "relu6", "hardswish", "silu", "gelu", "none"]

counts = st.integers(1, 5).map(lambda n: 8 * n)
ratios = st.sampled_from(["1x", "2x", "0.5x", "3.67x", "6x"])
kernels = st.one_of(st.sampled_from([1, 3, 5]), st.tuples(st.sampled_from([1, 3]), st.sampled_from([3, 5])).map(list))
strides = st.sampled_from([1, 1, 2])
scales = st.sampled_from(["scaled", "fixed", "grow"])
paddings = st.sampled_from(["symmetric", "same"])


def optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


def row(
    required: dict[str, st.SearchStrategy[Any]], **keys: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=keys)


conv = row(
    {"block": st.just("conv"), "out": counts},
    kernel=kernels,
    stride=strides,
    dilation=st.sampled_from([1, 2]),
    act=st.sampled_from(ACTIVATIONS),
    norm=st.sampled_from(["none", {"eps": 0.01}]),
    padding=paddings,
    scale=scales,
    repeat=st.integers(1, 3),
)
depthwise = row({"block": st.just("conv"), "out": st.just("1x"), "groups": st.just("depthwise")}, kernel=kernels)
inverted_residual = row(
    {"block": st.just("inverted_residual"), "expand": counts | ratios, "out": counts},
    kernel=kernels,
    se=st.sampled_from([True, False, 0.5, {"of": "input", "gate": "sigmoid"}]),
    stride=strides,
    act=st.sampled_from(ACTIVATIONS),
    skip_expand=st.booleans(),
    repeat=st.integers(1, 2),
    drop_path=st.sampled_from([0.0, 0.1]),
    padding=paddings,
    scale=scales,
)
bottleneck = row(
    {"block": st.just("bottleneck"), "expand": counts, "out": counts},
    stride=strides,
    groups=st.sampled_from([1, 8, "depthwise"]),
    se=st.booleans(),
)
mobilevit = row(
    {
        "block": st.just("mobilevit"),
        "dim": counts,
        "depth": st.integers(1, 2),
        "ffn": st.sampled_from(["2x", 24]),
        "heads": st.sampled_from([1, 2, 4]),
    },
    patch=st.sampled_from([1, 2, [2, 3]]),
    dropout=st.sampled_from([0.0, 0.1]),
)
pool = st.fixed_dictionaries(
    {"block": st.just("pool"), "kind": st.sampled_from(["max", "avg"]), "kernel": st.sampled_from([2, 3])},
    optional={"stride": strides, "padding": paddings, "count_padding": st.booleans()},
)
resize = st.fixed_dictionaries({"block": st.just("resize"), "to": st.sampled_from(["stem", "input"])})

rows = st.one_of(conv, depthwise, inverted_residual, bottleneck, mobilevit, pool, resize)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A spec of a few stages that lowers, with a classifier, taps, or neither at its end."""
    stages: dict[str, Any] = {"stem": [draw(conv)]}
    for number in range(draw(st.integers(1, 3))):
        stages[f"c{number}"] = draw(st.lists(rows, min_size=1, max_size=3))
    spec: dict[str, Any] = {
        "name": "random",
        "input": {"channels": draw(st.sampled_from([1, 3])), "size": draw(st.tuples(sizes, sizes).map(list))},
        "stages": stages,
        "width_mult": draw(st.sampled_from([0.35, 0.5, 1.0, 1.3])),
        "depth_mult": draw(st.sampled_from([1.0, 1.5])),
        "padding": draw(paddings),
        "act": draw(st.sampled_from(ACTIVATIONS)),
    }
    spec["input"] |= {"mean": 0.5, "std": 0.5}
    if draw(st.booleans()):
        spec |= {"reduced_tail": True, "tail": [list(stages)[-1]]}
    if draw(st.booleans()):
        spec["output_stride"] = draw(st.sampled_from([2, 4]))
        spec["dilation_policy"] = draw(st.sampled_from(["include_strided", "after_strided", "none_in_vit"]))
    end = draw(st.sampled_from(["classifier", "taps", "plain", "fused"]))
    if end == "classifier":
        head = [{"block": "pool"}, {"block": "dropout"}, {"block": "linear", "out": 10, "scale": "fixed"}]
        stages["head"] = head
    elif end == "taps":
        spec["outputs"] = draw(st.lists(st.sampled_from(list(stages)), min_size=1, max_size=3, unique=True))
    elif end == "fused":
        last = list(stages)[-1]
        stages["up"] = [{"block": "resize", "to": "stem", "from": last}]
        stages["join"] = [{"block": "concat", "from": ["up", "stem"]}, {"block": "conv", "out": 8, "kernel": 1}]
    return spec


sizes = st.integers(20, 41)
