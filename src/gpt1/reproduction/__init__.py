"""The paper's tables and figures, made anew with models and data of any size."""
