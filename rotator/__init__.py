"""rotator keeps Azure DevOps personal access tokens alive, unattended, and never loses one."""

__version__ = "0.1.0"
