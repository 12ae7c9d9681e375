"""The files of a directory that `archc build -o` writes."""

from __future__ import annotations

SPEC_FILE = "spec.yaml"
REPORT_FILE = "report.json"
MODEL_FILES = {"torch": "model.safetensors", "keras": "model.keras"}
"""The network's own, by backend."""
