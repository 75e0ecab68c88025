"""Calculations on recordings and weights that need only NumPy."""
