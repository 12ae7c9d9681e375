"""From YAML and Hydra overrides to a checked model that knows where every value was written."""
