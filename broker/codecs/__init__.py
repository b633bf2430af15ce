"""Payload bytes to measurements. Pure."""
