"""Tells an engine's author what is wrong with it before it joins a group."""
