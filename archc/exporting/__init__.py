"""From a trained network to a file that a runtime runs, checked. `archc.export` is `archc.exporting.export.export`.

The package has another name than the function, so that `archc.export` is always the function.
"""
