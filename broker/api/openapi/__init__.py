"""The API's description, made of the route table itself: OpenAPI 3.1 at /openapi.json, and a page at /docs."""
