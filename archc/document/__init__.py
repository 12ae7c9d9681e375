"""Reading documents: YAML and Hydra to a checked model that knows where every value was written."""
