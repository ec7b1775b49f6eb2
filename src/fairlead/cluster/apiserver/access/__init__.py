"""Who may do what: roles, bindings, reviews, impersonation and tokens."""
