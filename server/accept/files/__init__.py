"""The way of a table into its room: uploads, corrections, rows added, versions."""
