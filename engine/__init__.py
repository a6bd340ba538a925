"""The accelerated inference engine: weights, architectures, back ends, devices, quantization.

Knows nothing of DuckDB or Lance. torch is imported only when a model is loaded.
"""

import os

# Before torch loads, which reads them once: its threads sleep while they wait for each other. By default they
# spin, and beside other work the one that is waited for gets no processor while the others burn theirs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # GNU OpenMP
os.environ.setdefault("KMP_BLOCKTIME", "0")  # Intel's and LLVM's
