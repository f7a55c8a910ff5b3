"""How close is close enough: every tolerance of the tests, with its reason."""

from __future__ import annotations

EXACT = {"rtol": 0.0, "atol": 0.0}
"""Save and load, resume, refactor, ids: the same bits."""

FP64 = {"rtol": 1e-12, "atol": 1e-12}
"""Against another implementation in float64: rounding of some thousand operations."""

VECTORS = {"rtol": 1e-9, "atol": 1e-11}
"""Against the published vectors, which are printed with twelve digits."""

FP32 = 1e-5
"""Largest difference over largest magnitude, in float32."""

ACCUMULATION_FP64 = {"rtol": 1e-10, "atol": 1e-10}
"""Sums taken in another order, in float64."""

TRANSFORMERS_LOSS = {"rtol": 1e-6, "atol": 1e-6}
"""transformers computes its loss in float32, whatever the model's format."""

TWIN = {"rtol": 1e-10, "atol": 1e-10}
"""Against the numpy twin, float64."""

BF16 = 2e-2
"""Largest difference over largest magnitude, in bfloat16."""

RANKS = 1e-5
"""Weights of a run shared by ranks against one process's, by tensor norm, float32."""
