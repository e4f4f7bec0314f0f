"""Data sets in the layouts of others: ImageNet VID, CocoVID, EPIC-KITCHENS."""
