"""Read data sets: one file for each kind of source.

Each source is a `torch.utils.data.Dataset` of pairs: what the model is called with on one sample,
and its label, or None where it has none.
"""
