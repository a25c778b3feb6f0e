"""What a reviewer asks of a period, answered from the audit log and the records."""
