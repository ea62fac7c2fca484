"""What people really type, store and run: each test is a table that anybody can extend."""
