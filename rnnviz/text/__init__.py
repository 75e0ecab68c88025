"""From a text to mini-batches of indices, and n-gram models."""
