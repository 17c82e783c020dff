"""Helpers behind the notebooks: from clips of dialogue to a MEIJU@2025 submission.

Importing the package imports nothing heavy; each subpackage brings its own libraries.
"""

__version__ = "0.1.0"
