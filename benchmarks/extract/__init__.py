"""Decoding and features beside other libraries, on several workers, and their memory."""
