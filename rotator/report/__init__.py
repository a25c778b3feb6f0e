"""The pages that people read: documents in, text out."""
