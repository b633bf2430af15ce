"""Benchmarks: what the broker does a second, durable, beside what the machine and an empty handler can do."""
