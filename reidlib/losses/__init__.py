"""Losses, one file for each paper."""
