"""Numbers behind the accountant: laws of losses, sums and contours, every answer a bracket. Looks at nothing else of accounting."""
