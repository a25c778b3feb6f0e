"""Azure Key Vault: where consumers read the current value of a PAT."""
