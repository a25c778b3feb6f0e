"""The database port on SQLAlchemy Core: SQLite for one host, PostgreSQL 15 and later for several."""
