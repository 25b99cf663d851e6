"""This node's rooms and viewers: each change is rendered once and written to many."""
