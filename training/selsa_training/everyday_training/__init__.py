"""Training of the everyday model: its sources, its clips, and its SELSA stage over the frozen detector."""
