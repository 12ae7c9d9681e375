"""From images to predictions: what `archc.predict` and `archc predict` run."""
