"""Tablecast's node. The way of a document, in six sentences:

A browser or a program sends a file's bytes to a door (`accept`), which cuts them into blocks of
whole records (`document`) as they come. The blocks go to the fan-out (`fanout`), where they never
change again; what the room shows is a few registers there, raised from revision to revision by one
script. Every node that has viewers in the room is told each change, in order, or reads the whole
state anew where it cannot be sure. There `live` merges the change into the room, reads the page
through its caches, and builds the frames once. It writes them to every viewer that has drained
what it got before, and waits for none. What a viewer asks for takes the same way from the start:
its door appends a change, and everyone, the one who asked too, sees what came of it.
"""
