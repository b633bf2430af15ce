"""Codecs that vendors publish in JavaScript, in a sandbox: `sandbox.py` one script, `scripts.py` those of a thread."""
