"""HTTP: NGSI-LD routes, management routes, headers, ProblemDetail."""
