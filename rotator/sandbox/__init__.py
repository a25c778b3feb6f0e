"""Stand-ins for Entra, Azure DevOps and Key Vault on loopback, for the demo and the tests; imports nothing of ours."""
