"""Measurements side by side with other programs: ratios of one run on one machine, never absolute figures."""
