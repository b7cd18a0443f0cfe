"""Measures of how good results are, with intervals: arrays and data frames in, figures out."""
