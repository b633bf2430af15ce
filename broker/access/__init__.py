"""Who may do what: tokens, tenants, grants."""
