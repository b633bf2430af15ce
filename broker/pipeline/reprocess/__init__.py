"""Kept uplinks of a period are decoded again, after a codec, a unit or a mapping was corrected (docs/reprocess.md)."""
