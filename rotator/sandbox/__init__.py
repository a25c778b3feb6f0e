"""Stand-ins of Entra, Azure DevOps and Key Vault on loopback, for demo and tests; imports nothing of ours."""
