"""What people write: the schema, loading, positions and diagnostics. Imports neither torch nor Keras."""
