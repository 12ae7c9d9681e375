"""The few layers that Keras lacks.

Images are [batch, height, width, channels]; tokens are [batch, positions, length, channels]. Sizes may be unknown while
a model is put together, so every layer states its output shape.

All but `BatchNormalization` are registered as `archc>…`: a saved model with one of them needs archc to be opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from archc.backends.keras.runtime import keras
from archc.backends.keras.saved_as import saved_as
from archc.ir.graph import GRAPH
from archc.ir.ops import pads_same

ops = keras.ops

Size = int | None
Pair = tuple[int, int]
Tensor = Any
Config = dict[str, Any]
_registered = keras.saving.register_keras_serializable(package="archc")


@saved_as("keras.layers.BatchNormalization")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation, except that it gathers torch's running variance, the unbiased one.

    Keras averages the batch's variance divided by n, torch the one divided by n - 1; both normalise by the former.
    Keras saves this layer as its own `BatchNormalization`, so that a file opens without archc. A layer loaded from
    such a file computes the same, but gathers Keras's variance in further training.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        """[..., C] to the same."""
        kept = self.momentum * self.moving_variance
        outputs = super().call(inputs, training=training, mask=mask)
        if training and self.trainable and mask is None:
            count = ops.size(inputs) // self.moving_variance.shape[0]
            gathered = self.moving_variance - kept
            fewer = ops.cast(ops.maximum(count - 1, 1), gathered.dtype)
            self.moving_variance.assign(self.moving_variance + gathered / fewer)
        return outputs


@_registered
class SamePadding2D(keras.layers.Layer):
    """Zeros around an image, as TensorFlow pads for a window: the output of the window is ceil(size / stride)."""

    def __init__(self, kernel_size: Pair, strides: int, dilation_rate: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_size, self.strides, self.dilation_rate = _pair(kernel_size), strides, dilation_rate

    def call(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to [B, H', W', C]."""
        return ops.pad(x, _pads(ops.shape(x), self.kernel_size, self.strides, self.dilation_rate))

    def compute_output_shape(self, input_shape: tuple[Size, ...]) -> tuple[Size, ...]:
        """As `call`."""
        sizes = [
            None if size is None else size + sum(pads_same(size, window, self.strides, self.dilation_rate))
            for size, window in zip(input_shape[1:3], self.kernel_size, strict=True)
        ]
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> Config:
        """For saving."""
        own = {"kernel_size": self.kernel_size, "strides": self.strides, "dilation_rate": self.dilation_rate}
        return {**super().get_config(), **own}


def _pair(values: Iterable[int]) -> Pair:
    """Two numbers, which a saved configuration has as a list."""
    first, second = values
    return first, second


def _pads(shape: Any, kernel: Pair, stride: int, dilation: int = 1) -> list[Pair]:
    height, width = (pads_same(size, window, stride, dilation) for size, window in zip(shape[1:3], kernel, strict=True))
    return [(0, 0), height, width, (0, 0)]


@_registered
class Pool2D(keras.layers.Layer):
    """A pool whose padding never wins, and counts in an average only with `count_padding`.

    `padding` is `same`, TensorFlow's, or the number of pixels on each side, by axis. Keras's own pools have no
    symmetric padding at a stride, and its torch backend repeats the border where `same` is uneven.
    """

    def __init__(
        self,
        function: Literal["max", "avg"],
        pool_size: Pair,
        strides: int,
        padding: Literal["same"] | Pair,
        count_padding: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.function, self.pool_size, self.strides = function, _pair(pool_size), strides
        self.padding: Literal["same"] | Pair = "same" if padding == "same" else _pair(padding)
        self.count_padding = count_padding

    def call(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to [B, H', W', C]."""
        if self.padding == "same":
            pads = _pads(ops.shape(x), self.pool_size, self.strides)
        else:
            pads = [(0, 0), *((pad, pad) for pad in self.padding), (0, 0)]
        if self.function == "max":
            return ops.max_pool(ops.pad(x, pads, constant_values=-float("inf")), **self._window)
        mean = ops.average_pool(ops.pad(x, pads), **self._window)
        if self.count_padding:
            return mean
        return mean / ops.average_pool(ops.pad(ops.ones_like(x[:1, :, :, :1]), pads), **self._window)

    @property
    def _window(self) -> Config:
        shape = {"pool_size": self.pool_size, "strides": (self.strides, self.strides)}
        return {**shape, "padding": "valid", "data_format": "channels_last"}

    def compute_output_shape(self, input_shape: tuple[Size, ...]) -> tuple[Size, ...]:
        """As `call`."""
        pads = (None, None) if self.padding == "same" else self.padding
        sizes = [
            None if size is None else -(-size // self.strides) if pad is None
            else (size + 2 * pad - window) // self.strides + 1
            for size, window, pad in zip(input_shape[1:3], self.pool_size, pads, strict=True)
        ]  # fmt: skip
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> Config:
        """For saving."""
        names = ("function", "pool_size", "strides", "padding", "count_padding")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@_registered
class NormalizePixels(keras.layers.Layer):
    """Pixels from 0 to 255 as `(x - mean) · scale`; with `reverse`, the channels in reverse order first."""

    def __init__(self, mean: Sequence[float], scale: Sequence[float], reverse: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean, self.scale, self.reverse = tuple(mean), tuple(scale), reverse

    def call(self, x: Tensor) -> Tensor:
        """[B, H, W, C] of any type to the same in the layer's."""
        x = ops.cast(ops.flip(x, axis=-1) if self.reverse else x, self.compute_dtype)
        x = x - ops.convert_to_tensor(self.mean, dtype=self.compute_dtype)
        return x if set(self.scale) == {1.0} else x * ops.convert_to_tensor(self.scale, dtype=self.compute_dtype)

    def compute_output_spec(self, x: Any) -> Any:
        """Keras would take the type of the pixels."""
        return keras.KerasTensor(x.shape, dtype=self.compute_dtype)

    def get_config(self) -> Config:
        """For saving."""
        return {**super().get_config(), "mean": self.mean, "scale": self.scale, "reverse": self.reverse}


@_registered
class ResizeLike(keras.layers.Layer):
    """Interpolate to the height and width of another image; an image of that size stays as it is."""

    def __init__(self, mode: Literal["nearest", "bilinear"] = "bilinear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = mode

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """[B, h, w, C] and [B, H, W, _] to [B, H, W, C]."""
        x, like = inputs
        _, height, width, _ = ops.shape(like)
        return _interpolate(x, height, width, self.mode)

    def compute_output_shape(self, input_shape: tuple[tuple[Size, ...], ...]) -> tuple[Size, ...]:
        """As `call`."""
        x, like = input_shape
        return (x[0], *like[1:3], x[3])

    def get_config(self) -> Config:
        """For saving."""
        return {**super().get_config(), "mode": self.mode}


@_registered
class ResizeToMultiple(keras.layers.Layer):
    """Interpolate bilinearly up to the next multiple of a size; an image of such a size stays as it is."""

    def __init__(self, multiple: Pair, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = _pair(multiple)

    def call(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to [B, H', W', C]."""
        height, width = (-(-size // m) * m for size, m in zip(ops.shape(x)[1:3], self.multiple, strict=True))
        return _interpolate(x, height, width, "bilinear")

    def compute_output_shape(self, input_shape: tuple[Size, ...]) -> tuple[Size, ...]:
        """As `call`."""
        sizes = zip(input_shape[1:3], self.multiple, strict=True)
        return (input_shape[0], *(None if size is None else -(-size // m) * m for size, m in sizes), input_shape[3])

    def get_config(self) -> Config:
        """For saving."""
        return {**super().get_config(), "multiple": self.multiple}


def _interpolate(x: Tensor, height: int, width: int, mode: str) -> Tensor:
    before = ops.shape(x)[1:3]
    if before[0] == height and before[1] == width:
        return x
    if mode == "nearest":  # Keras's own takes the pixel under the centre
        rows, columns = (_nearest(old, new) for old, new in zip(before, (height, width), strict=True))
        return ops.take(ops.take(x, rows, axis=1), columns, axis=2)
    return ops.image.resize(x, (height, width), mode, antialias=False, data_format="channels_last")


def _nearest(old: int, new: int) -> Tensor:
    # In 32 bits, as torch does: where i · old / new is a whole number, rounding decides.
    return ops.cast(ops.floor(ops.arange(new, dtype="float32") * (old / new)), "int32")


@_registered
class Unfold(keras.layers.Layer):
    """An image as sequences of patches, one sequence per pixel position in the patch."""

    def __init__(self, patch: Pair, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patch = _pair(patch)

    def call(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to [B, P, N, C]: P pixels in a patch, N patches."""
        (ph, pw), (_, height, width, channels) = self.patch, ops.shape(x)
        rows, columns = height // ph, width // pw
        x = ops.reshape(x, (-1, rows, ph, columns, pw, channels))
        x = ops.transpose(x, (0, 2, 4, 1, 3, 5))
        return ops.reshape(x, (-1, ph * pw, rows * columns, channels))

    def compute_output_shape(self, input_shape: tuple[Size, ...]) -> tuple[Size, ...]:
        """As `call`."""
        (ph, pw), (batch, height, width, channels) = self.patch, input_shape
        length = None if height is None or width is None else (height // ph) * (width // pw)
        return (batch, ph * pw, length, channels)

    def get_config(self) -> Config:
        """For saving."""
        return {**super().get_config(), "patch": self.patch}


@_registered
class Fold(keras.layers.Layer):
    """The inverse of `Unfold`."""

    def __init__(self, patch: Pair, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patch = _pair(patch)

    def call(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """[B, P, N, C] and an image [B, H, W, _] to [B, H, W, C]."""
        tokens, like = inputs
        (ph, pw), (_, height, width, _), channels = self.patch, ops.shape(like), tokens.shape[-1]
        rows, columns = height // ph, width // pw
        x = ops.reshape(tokens, (-1, ph, pw, rows, columns, channels))
        x = ops.transpose(x, (0, 3, 1, 4, 2, 5))
        return ops.reshape(x, (-1, height, width, channels))

    def compute_output_shape(self, input_shape: tuple[tuple[Size, ...], ...]) -> tuple[Size, ...]:
        """As `call`."""
        tokens, like = input_shape
        return (*like[:3], tokens[3])

    def get_config(self) -> Config:
        """For saving."""
        return {**super().get_config(), "patch": self.patch}


@_registered
class Attention(keras.layers.Layer):
    """Scaled dot-product self-attention over joined queries, keys and values; it owns no weights."""

    def __init__(self, heads: int, dropout: float = 0.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.dropout, self.seed = heads, dropout, seed
        self.seeds = keras.random.SeedGenerator(seed) if dropout else None

    def call(self, qkv: Tensor, training: bool | None = None) -> Tensor:
        """[B, P, N, 3·D] to [B, P, N, D]."""
        _, positions, length, joined = ops.shape(qkv)
        width = joined // 3
        split = ops.reshape(qkv, (-1, length, 3, self.heads, width // self.heads))
        query, key, value = (split[:, :, number] for number in range(3))
        if training and self.dropout:
            y = self._dropped(query, key, value)
        else:
            y = ops.dot_product_attention(query, key, value)
        return ops.reshape(y, (-1, positions, length, width))

    def _dropped(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Keras's own attention has no dropout."""
        scores = ops.einsum("bqhd,bkhd->bhqk", query * query.shape[-1] ** -0.5, key)
        kept = keras.random.dropout(ops.softmax(scores, axis=-1), self.dropout, seed=self.seeds)
        return ops.einsum("bhqk,bkhd->bqhd", kept, value)

    def compute_output_shape(self, input_shape: tuple[Size, ...]) -> tuple[Size, ...]:
        """As `call`."""
        return (*input_shape[:3], (input_shape[3] or 0) // 3)

    def get_config(self) -> Config:
        """For saving."""
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout, "seed": self.seed}


@saved_as("keras.Model")
class Network(keras.Model):
    """A compiled network: a functional model whose saved file states the network, transforms and all.

    Keras saves it as a plain `keras.Model`. Loading ignores the additional keys in its configuration.
    """

    def get_config(self) -> Config:
        """A functional model's, with what `archc.transforms.provenance` states about the network."""
        from archc.transforms.provenance import statement

        graph = vars(self).get(GRAPH)
        return {**super().get_config(), **(statement(graph) if graph is not None else {})}

    def __reduce__(self) -> Any:
        # Keras pickles a model as its file, which leaves out the graph.
        _, arguments, *_ = super().__reduce__()
        return _unpickled, (*arguments, vars(self).get(GRAPH))


def _unpickled(file: Any, graph: Any) -> Any:
    model = keras.Model._unpickle_model(file)
    setattr(model, GRAPH, graph)
    return model
