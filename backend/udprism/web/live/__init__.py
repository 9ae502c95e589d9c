"""The live feed: viewers ask and get the newest state; a slow viewer costs one frame and delays no one.

Everything here runs on the event loop. A picture is taken only when some viewer has credit, at most `frame_hz` times a
second, and what is encoded from it is shared by all viewers that ask for the same.
"""
