"""Messages to receivers of clients, about jobs that have ended."""
