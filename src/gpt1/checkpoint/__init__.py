"""Formats of model folders: reading them, writing ours, and where they come from."""
