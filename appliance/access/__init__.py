"""Who may do what: client tokens and the policies they carry."""
