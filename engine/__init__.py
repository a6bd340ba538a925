"""The accelerated inference engine: weights, architectures, back ends, devices, quantization.

Knows nothing of DuckDB or Lance. torch is imported only when a model is loaded.
"""
