"""The gate: an engine is used only if its outputs on the gate frames are right."""
