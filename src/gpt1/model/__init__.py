"""The architecture; of gpt1 it imports config and errors alone."""

import os

# On CPUs torch keeps a compiled kernel for each shape of a matrix product, 1,024 of them and as
# many again in ideep: gigabytes where every batch of texts has another shape. It reads the limits
# from the environment when it multiplies for the first time. A step of one shape takes about 30.
for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(name, "40")
