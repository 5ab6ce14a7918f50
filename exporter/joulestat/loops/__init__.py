"""The only room that starts server threads and reads the real clock."""
