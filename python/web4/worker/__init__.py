"""The far side of the fork: what a worker process is before it runs a line of an extension (EXT-14, EXT-29 to EXT-36).

The node and its workers share this room and nothing else: the frames they speak, the request that starts a worker, and
the sandbox it enters. It knows no Trio, no journal, no keys, so a template process that imports it stays small.
"""
