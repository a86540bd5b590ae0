"""Engines in processes of their own: each slot has one, or several share one that makes batches."""
