"""Benchmarks: every installed runtime beside eager torch, each in a process of its own."""
