"""Reading what was fetched, in a worker process that a timeout can kill (FETCH-9)."""

from web4.protocols.lip.extracting.extractor import Extractor, ReadPage, RobotsAnswer, open_extractor

__all__ = ["Extractor", "ReadPage", "RobotsAnswer", "open_extractor"]
