"""Weights on their way: files and state dicts, to the State, to a backend's network, and back."""
