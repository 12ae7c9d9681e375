"""A compiled model is an ordinary `keras.Model`: everything that Keras's users do with one works."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

import archc
from archc.backends.keras.layers import Site, layers
from archc.backends.keras.runtime import choose, configured
from archc.ir import ops
from archc.ir.initial import Distribution
from tests.backends.keras.peer import carry, errors, pair

BLOCK_ARCHC = "import sys; sys.modules['archc'] = None\n"


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def image(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def test_layers_are_named_as_the_spec_names_them() -> None:
    model = archc.build("mnv3_small", backend="keras", seed=0)
    assert isinstance(model, keras.Model)
    assert model.name == "mobilenet_v3_small"
    assert isinstance(model.get_layer("c4_0_depthwise_conv"), keras.layers.DepthwiseConv2D)
    assert isinstance(model.get_layer("c4_0_squeeze_scale"), keras.layers.Multiply)
    assert model.input_shape == (None, None, None, 3)
    shown = io.StringIO()
    model.summary(print_fn=lambda line, **_: shown.write(line + "\n"))
    assert 'Model: "mobilenet_v3_small"' in shown.getvalue()
    assert "c5_0_depthwise_norm" in shown.getvalue()
    assert "2,542,856" in shown.getvalue()  # trainable parameters


def test_names_that_would_become_one_stay_apart() -> None:
    rows = [{"block": "conv", "out": 4}, {"block": "conv", "out": 4}]
    stages = {"c": [rows[0]], "c_0": rows}
    stages["c_0_conv"] = rows
    spec = archc.load({"name": "a.b", "input": {"size": 8}, "stages": stages})
    model = archc.build(spec, backend="keras", seed=0)
    assert len({layer.name for layer in model.layers}) == len(model.layers)
    module, again = pair(archc.lower(spec))
    assert max(errors(module, again, (8, 8)).values()) < 1e-5


def test_padding_momentum_and_functions_are_the_specs() -> None:
    model = archc.build("mnv3_small", backend="keras", seed=0)
    norm = model.get_layer("stem_0_norm")
    assert (norm.momentum, norm.epsilon) == (0.99, 1e-3)  # torch's 0.01
    stem = model.get_layer("stem_0_conv")
    assert (stem.padding, model.get_layer("stem_0_conv_pad").padding) == ("valid", ((1, 1), (1, 1)))
    assert archc.build("efficientnet_lite0", backend="keras", seed=0).get_layer("stem_0_conv").padding == "same"
    values = np.linspace(-8, 8, 1001, dtype="float32")
    for name, function in {
        "hardswish": torch.nn.functional.hardswish,
        "hardsigmoid": torch.nn.functional.hardsigmoid,
        "leaky_relu": torch.nn.functional.leaky_relu,
        "gelu": torch.nn.functional.gelu,
        "elu": torch.nn.functional.elu,
        "mish": torch.nn.functional.mish,
        "silu": torch.nn.functional.silu,
        "relu6": torch.nn.functional.relu6,
    }.items():
        (layer,) = layers(ops.Activation(name), Site("act", [ops.Vector(1)], ops.Input(), initial=None))  # type: ignore[arg-type]
        actual = keras.ops.convert_to_numpy(layer(values))
        assert np.abs(actual - function(torch.from_numpy(values)).numpy()).max() < 1e-6, name


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resizing_is_torchs_for_any_two_sizes(mode: Any) -> None:
    from archc.backends.keras.modules import ResizeLike

    resize = ResizeLike(mode)
    for before, after in [
        ((5, 7), (13, 20)),
        ((13, 20), (5, 7)),
        ((3, 3), (9, 4)),
        ((21, 6), (7, 6)),
        ((1, 1), (4, 5)),
    ]:
        x, like = image(2, *before, 3), np.zeros((2, *after, 1), "float32")
        expected = torch.nn.functional.interpolate(torch.from_numpy(x).permute(0, 3, 1, 2), after, mode=mode)
        actual = keras.ops.convert_to_numpy(resize([x, like])).transpose(0, 3, 1, 2)
        assert np.abs(actual - expected.numpy()).max() < 1e-5, (before, after)


def test_a_network_that_flattens_takes_its_own_size_only() -> None:
    stages = {
        "a": [{"block": "conv", "out": 4, "stride": 2}],
        "b": [{"block": "linear", "out": 3, "flatten": True}],
    }
    spec = {"name": "flat", "input": {"size": [10, 14]}, "stages": stages}
    module, model = pair(archc.lower(archc.load(spec)))
    assert model.input_shape == (None, 10, 14, 3)
    assert max(errors(module, model, (10, 14)).values()) < 1e-5


def test_several_outputs_come_as_a_mapping_and_taps_inside_rows_do() -> None:
    spec = archc.load("mobilevit_xxs", ["outputs={deep: c5, tokens: c3.1.transformer, early: c2.0.expand}"])
    module, model = pair(archc.lower(spec))
    found = errors(module, model, (70, 90))
    assert set(found) == {"deep", "tokens", "early"}
    assert max(found.values()) < 1e-5
    assert not any(layer.name.startswith("head") for layer in model.layers)


def test_what_frozen_norms_hold_does_not_train() -> None:
    spec = archc.load("mnv3_small", ["norm.kind=frozen_batch", "dropout=0"])
    module, model = pair(archc.lower(spec))
    with torch.no_grad():
        for name, value in module.named_buffers():
            value.uniform_(0.5, 1.5) if name.endswith(("weight", "var")) else value.normal_(0, 0.2)
    carry(module, model)
    assert max(errors(module, model, (64, 64)).values()) < 1e-5
    before = model.predict_on_batch(image(2, 64, 64, 3))
    assert np.abs(keras.ops.convert_to_numpy(model(image(2, 64, 64, 3), training=True)) - before).max() < 1e-5
    assert sum(int(np.prod(v.shape)) for v in model.trainable_weights) == archc.report(spec).params


def test_drop_path_drops_whole_images() -> None:
    spec = archc.load("mnv3_small", ["+drop_path={rate: 0.5, schedule: constant}"])
    model = archc.build(spec, backend="keras", seed=0)
    keras.utils.set_random_seed(0)
    kept = keras.ops.convert_to_numpy(
        model.get_layer("c3_1_drop_path")(np.ones((64, 3, 4, 5), "float32"), training=True)
    )
    per_image = kept.reshape(64, -1)
    assert set(np.unique(kept)) == {0.0, 2.0}
    assert (per_image == per_image[:, :1]).all()


def test_a_saved_model_opens_without_archc(tmp_path: Path) -> None:
    path, x = tmp_path / "small.keras", image(1, 64, 64, 3)
    model = archc.build("mnv3_small", backend="keras", seed=0)
    model.save(path)
    np.save(tmp_path / "x.npy", x)
    program = BLOCK_ARCHC + (
        "import keras, numpy as np\n"
        "y = keras.saving.load_model(sys.argv[1]).predict_on_batch(np.load(sys.argv[2]))\n"
        "np.save(sys.argv[3], y)"
    )
    done = run(program, str(path), str(tmp_path / "x.npy"), str(tmp_path / "y.npy"))
    assert done.returncode == 0, done.stderr
    assert np.abs(np.load(tmp_path / "y.npy") - model.predict_on_batch(x)).max() < 1e-6
    config = json.loads(zipfile.ZipFile(path).read("config.json"))["config"]
    stated = archc.load(_file(tmp_path, config["archc_spec"]))
    assert archc.lower(stated) == archc.lower(archc.load("mnv3_small"))


def _file(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_detectors_file_opens_without_archc_too(tmp_path: Path) -> None:
    path, x = tmp_path / "ssd.keras", image(1, 96, 96, 3)
    model = archc.build("ssdlite320_mnv3_large", backend="keras", seed=0)
    model.save(path)
    np.save(tmp_path / "x.npy", x)
    program = BLOCK_ARCHC + (
        "import keras, numpy as np\n"
        "y = keras.saving.load_model(sys.argv[1]).predict_on_batch(np.load(sys.argv[2]))\n"
        "np.savez(sys.argv[3], **y)"
    )
    done = run(program, str(path), str(tmp_path / "x.npy"), str(tmp_path / "y.npz"))
    assert done.returncode == 0, done.stderr
    expected, found = model.predict_on_batch(x), np.load(tmp_path / "y.npz")
    assert set(found) == set(expected)
    assert len(expected) == 12
    assert max(np.abs(found[key] - value).max() for key, value in expected.items()) < 1e-6


def test_a_file_states_the_transforms(tmp_path: Path) -> None:
    path, x = tmp_path / "small.keras", image(1, 64, 64, 3)
    model = archc.build("mnv3_small", backend="keras", seed=0, transforms=["fold_norms", "drop_training_ops"])
    model.save(path)
    config = json.loads(zipfile.ZipFile(path).read("config.json"))["config"]
    assert config["archc_transforms"] == "fold_norms,drop_training_ops"
    assert archc.load(_file(tmp_path, config["archc_spec"])).name == "mobilenet_v3_small"
    assert not any("norm" in layer["name"] for layer in config["layers"])
    assert np.array_equal(keras.saving.load_model(path).predict_on_batch(x), model.predict_on_batch(x))


def test_what_keras_lacks_is_registered(tmp_path: Path) -> None:
    path, x = tmp_path / "vit.keras", image(1, 70, 66, 3)
    spec = archc.load("mobilevit_xxs", ["stages.c3.1.attn_dropout=0.1"])
    model = archc.build(spec, backend="keras", seed=0)
    model.save(path)
    again = keras.saving.load_model(path)
    assert np.array_equal(again.predict_on_batch(x), model.predict_on_batch(x))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert np.array_equal(clone.predict_on_batch(x), model.predict_on_batch(x))


def test_pickled_models_keep_their_spec() -> None:
    model = archc.build("mnv3_small", backend="keras", seed=0)
    again = pickle.loads(pickle.dumps(model))
    x = image(1, 40, 40, 3)
    assert np.array_equal(again.predict_on_batch(x), model.predict_on_batch(x))
    assert again.archc_graph.name == "mobilenet_v3_small"


def test_it_fits_and_evaluates() -> None:
    spec = archc.load("mnv3_small", ["num_classes=2", "width_mult=0.35", "input.size=32", "norm.momentum=0.3"])
    model = archc.build(spec, backend="keras", seed=0)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    labels = np.arange(32) % 2
    pictures = image(32, 32, 32, 3) * 0.3 + labels[:, None, None, None]
    losses = model.fit(pictures, labels, epochs=5, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert np.isfinite(model.evaluate(pictures, labels, verbose=0))


def test_the_seed_is_that_of_dropout_too() -> None:
    """Its generators' states are part of a file."""
    models = [archc.build("mobilevit_xxs", backend="keras", seed=seed) for seed in (3, 3, 4)]
    states = [[int(np.asarray(v)[-1]) for v in m.variables if v.path.endswith("seed_generator_state")] for m in models]
    first, again, other = ([layer.seed for layer in m.layers if getattr(layer, "seed", None)] for m in models)
    assert first == again
    assert len(set(first)) == len(first) > 5
    assert not set(first) & set(other)
    assert states[0] == states[1]


def test_same_seed_same_weights() -> None:
    first, again, other = (archc.build("mnv3_small", backend="keras", seed=s).get_weights() for s in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    keras.utils.set_random_seed(5)
    first = archc.build("mnv3_small", backend="keras").get_weights()
    keras.utils.set_random_seed(5)
    again = archc.build("mnv3_small", backend="keras").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("spec", ["mnv3_large", "mobilevit_xxs", "resnet50", "efficientnet_lite0", "timm_mnv3_small"])
def test_initial_weights_are_distributed_as_torchs(spec: str) -> None:
    graph = archc.lower(archc.load(spec))
    ours = archc.build(graph, seed=0, backend="keras")
    theirs = archc.build(graph, seed=0)
    copied = archc.build(graph, device="meta")
    carry(ours, copied)
    large = 0
    for (name, drawn), expected in zip(copied.named_parameters(), theirs.parameters(), strict=True):
        if expected.numel() < 4000:
            assert drawn.std(unbiased=False) <= 2 * expected.std(unbiased=False) + 1e-6, name
            continue
        large += 1
        assert drawn.std().item() == pytest.approx(expected.std().item(), rel=0.1), name
        assert drawn.abs().max().item() == pytest.approx(expected.abs().max().item(), rel=0.35), name
    assert large > 10


def test_the_layers_state_the_distribution_they_were_drawn_from() -> None:
    from archc.backends.keras.initialise import Draw

    rng = np.random.default_rng(0)
    for distribution in (Distribution("normal", 0.3), Distribution("uniform", 0.3), Distribution("trunc_normal", 1.0)):
        draw = Draw(distribution, rng)
        drawn, stock = (keras.ops.convert_to_numpy(make((200, 200))) for make in (draw, draw.stock()))
        assert drawn.std() == pytest.approx(stock.std(), rel=0.02)
        assert np.abs(drawn).max() <= np.abs(stock).max() * 1.2
    kernel = archc.build("mobilevit_xxs", backend="keras", seed=0).get_layer("head_2_linear").kernel_initializer
    assert isinstance(kernel, keras.initializers.RandomNormal)
    assert kernel.stddev == 0.02


def test_types_are_keras_policies() -> None:
    x = image(1, 32, 32, 3)
    half = archc.build("mnv3_small", backend="keras", seed=0, dtype="mixed_bfloat16")
    assert {str(v.dtype) for v in half.weights} == {"float32"}
    assert "bfloat16" in str(half(x).dtype)
    double = archc.build("mnv3_small", backend="keras", seed=0, dtype="float64")
    single = archc.build("mnv3_small", backend="keras", seed=0)
    assert double.predict_on_batch(x.astype("float64")).dtype == np.float64
    assert np.abs(double.predict_on_batch(x) - single.predict_on_batch(x)).max() < 1e-4


@pytest.mark.slow
def test_what_keras_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match=r"keras\.device"):
        archc.build("mnv3_small", backend="keras", device="cpu")
    with pytest.raises(ValueError, match=r"not torch\.bfloat16"):
        archc.build("mnv3_small", backend="keras", dtype=torch.bfloat16)


def test_keras_computes_with_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import archc.backends.keras.runtime as r; print(r.keras.backend.backend())"
    unset = run(program, KERAS_BACKEND="", KERAS_HOME=str(tmp_path / "none"))
    assert unset.stdout.strip() == "torch", unset.stderr  # TensorFlow, Keras's default, is not installed
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert configured() == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "jax"}', encoding="utf-8")
    assert configured() == "jax"
    choose()  # Keras is imported by now: nothing is changed
    assert os.environ["KERAS_BACKEND"] == "torch"


def test_a_backend_or_a_keras_that_is_missing_is_said(tmp_path: Path) -> None:
    told = run("import archc; archc.build('mnv3_small', backend='keras')", KERAS_BACKEND="tensorflow")
    assert "Keras was told to compute with tensorflow, but tensorflow is not installed" in told.stderr
    hidden = "import sys; sys.modules['keras'] = None; import archc; archc.build('mnv3_small', backend='keras')"
    assert "pip install 'archc[keras]'" in run(hidden, KERAS_BACKEND="").stderr
    assert "pip install 'archc[keras]'" in run(hidden, KERAS_BACKEND="torch").stderr
