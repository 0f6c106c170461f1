"""The pages that people open: owner, technician, trainer."""
