"""Which tensor is which: the names that libraries give to a network's tensors, as data."""
