"""Search in the browser: what is asked, the process that answers it, and the page."""
