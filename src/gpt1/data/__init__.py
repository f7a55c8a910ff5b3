"""Files -> rows -> ids -> batches; nothing here imports torch.

sources.py finds files, dialect.py tells what each is, formats.py reads them, tables.py yields and
counts their rows and texts, parallel.py and ray_engine.py encode, shards.py stores ids on disk,
packing.py cuts windows and fills packs, batches.py makes the batches of a run. `labels` are shifted
everywhere: labels[b, t] is what position t must predict, -100 where there is nothing to predict.
"""
