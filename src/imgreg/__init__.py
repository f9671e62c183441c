"""imgreg: is my photo classifier overfitting, what helps, and how sure are we?"""

__version__ = "0.1.0"
