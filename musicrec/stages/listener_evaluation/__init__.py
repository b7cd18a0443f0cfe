"""Methods of recommendation judged by what the listeners of the table ``histories`` came to like."""
