"""From a trained network to one that computes in 8-bit integers. `archc.quantize` is `quantization.quantize.quantize`.

The package has another name than the function, so that `archc.quantize` is always the function.
"""
