"""The content of pages: one module or folder for each, with the page's name."""
