"""Azure DevOps: the PAT lifecycle API and connectionData, behind the port PatService."""
