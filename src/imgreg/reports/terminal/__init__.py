"""Texts for a terminal of 80 columns, one file a subject. They are returned; only imgreg.cli prints.

In: summaries, tables, curves. Out: rich renderables whose words, not their colours, carry the meaning.
Must not know: streams, --json, progress.
"""
