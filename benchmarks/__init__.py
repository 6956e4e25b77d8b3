"""Short scripts that measure, print a table and write JSON; not part of the wheel."""
