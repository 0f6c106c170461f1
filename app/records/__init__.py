"""What the server keeps: accounts, cars, corrections, packages, training runs."""
