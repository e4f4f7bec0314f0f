"""The commands of training, data and evaluation."""
