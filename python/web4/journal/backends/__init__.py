"""The stores a journal can be kept in (JRN-24): SQLite, PostgreSQL, memory."""
