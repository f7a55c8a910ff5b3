"""Ids in, more ids out: backends, the engine, sampling, streaming and scoring."""
