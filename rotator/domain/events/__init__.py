"""The one catalogue of events: each event is a class, its fields are typed, its docstring says what it means."""
