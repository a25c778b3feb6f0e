"""The reviewer's page and the evidence archive: documents in, text out."""
