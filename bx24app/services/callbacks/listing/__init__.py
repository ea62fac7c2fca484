"""The list of callbacks: what is wanted, which index leads there, pages, counters, the file, and saved views."""
