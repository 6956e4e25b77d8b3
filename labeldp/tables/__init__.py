"""Labels in tables: files in, files without true labels out."""

from labeldp.tables.csv_file import privatize_csv

__all__ = ["privatize_csv"]
