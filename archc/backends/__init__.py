"""Backends: a graph made runnable by a library. One package per library; they never import each other."""
