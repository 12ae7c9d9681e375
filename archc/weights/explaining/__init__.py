"""Why a checkpoint does not fit, what would fit, and what no shape shows."""
