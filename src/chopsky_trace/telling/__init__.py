"""How a run is told: what of it was told before, messages as bodies, records in the making."""
