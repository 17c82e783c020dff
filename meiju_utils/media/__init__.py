"""Decoding: how the doctor and the pipeline open a clip, choose, limit and time its streams."""
