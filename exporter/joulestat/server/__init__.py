"""The two HTTP applications: a public one to read and push, an admin one to lease limits."""
