"""The pages that people read, and the evidence archive: documents in, text out."""
