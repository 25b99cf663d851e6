"""The doors in words: the OpenAPI and AsyncAPI documents and what they are made of."""
