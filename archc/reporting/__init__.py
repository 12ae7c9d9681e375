"""One `Report`, and the renderers of it and of diagnostics."""
