"""What the browser gets: templates, stylesheets, ES modules, the sample. Nothing is built."""
