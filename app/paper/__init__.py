"""What is printed: the answer as a PDF, the evidence package."""
