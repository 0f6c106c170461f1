"""What people touch: the Advisor, the command line, the page."""
