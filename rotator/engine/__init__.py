"""The use cases, on the domain and on ports only."""
