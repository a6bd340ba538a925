"""Who may reach what: restricted SQL, scopes, and what files allow."""
