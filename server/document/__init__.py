"""Bytes in, blocks and rows out: the pure core, without event loop, sockets or storage.

dialect.py says how bytes are to be read and refuses what is no text; cutter.py cuts arriving bytes
into blocks of whole records; pages.py finds and parses the blocks of a page; messages.py is the
vocabulary of the wire.
"""
