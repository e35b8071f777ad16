"""Keep what forward passes taught: their events in order, and what to measure at each.

The passes over many batches are mostly the same: the same operators on tensors of the same origin,
shape and layout. The first one is analysed, and each of its events becomes a node of a tree. A
later pass walks down the tree as long as it does the same; see `syops.trace.replay`. Where one
departs, the tree gets a branch.
"""
