"""Audio: probe a header, plan what a part needs, decode it, resample it."""
