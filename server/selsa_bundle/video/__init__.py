"""Which frames a video file has, when each is shown, and whether any is missing.

The server and training share this code, so that frame i of a file is the same picture for both.
"""
