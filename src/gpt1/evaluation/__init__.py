"""Measuring models: nothing here trains, nothing here depends on how a model was trained."""
