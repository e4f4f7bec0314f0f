"""The HTTP application. Only this package knows HTTP status codes."""
