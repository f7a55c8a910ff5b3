"""The architecture; of gpt1 it imports config and errors alone."""
