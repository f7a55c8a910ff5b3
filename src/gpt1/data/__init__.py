"""Files -> rows -> ids -> batches; nothing here imports torch.

sources.py finds files, formats.py reads each kind, tables.py gives their rows and texts with an
account of all, shards.py keeps ids on disk, ray_engine.py makes them on a cluster, packing.py cuts
windows and packs, batches.py hands them out. `labels` are shifted everywhere: labels[b, t] is what
position t must predict, -100 where there is nothing to predict.
"""
