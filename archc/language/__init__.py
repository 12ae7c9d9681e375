"""The spec language: what a spec file may say. Imports neither torch nor Keras."""
