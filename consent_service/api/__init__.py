"""HTTP in, HTTP out: bodies are checked here, values go on, errors become problem+json."""
