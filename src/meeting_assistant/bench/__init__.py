"""Measures the live path: paced sessions against a running server, and the figures that come of them."""
