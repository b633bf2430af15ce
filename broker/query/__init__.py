"""Queries: AST, parsers, the in-memory matcher, compilers to SQL and MongoDB filters."""
