"""Small vendored files, with their licences."""
