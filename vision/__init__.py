"""From a photo's bytes to findings: opening, detecting, lamp colour, drawing."""
